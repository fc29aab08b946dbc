"""Jobs as a coordinator tells of them: state, progress, events, labelled pairs, dead letters."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

from .decode import known, moment, present, probability_a
from .errors import AnswerError
from .wire.v1 import coordinator_pb2 as wire


class JobState(StrEnum):
    """Where a job is in its life."""

    #: Accepted, waiting for its turn.
    QUEUED = "queued"
    #: Work is handed out.
    RUNNING = "running"
    #: No work is handed out until it is resumed.
    PAUSED = "paused"
    #: Work that was begun is brought to its end.
    CANCELLING = "cancelling"
    #: Ended on request.
    CANCELLED = "cancelled"
    #: Ended by an error.
    FAILED = "failed"
    #: Ended with a report.
    SUCCEEDED = "succeeded"


_STATES: dict[int, JobState] = {
    wire.JOB_STATE_QUEUED: JobState.QUEUED,
    wire.JOB_STATE_RUNNING: JobState.RUNNING,
    wire.JOB_STATE_PAUSED: JobState.PAUSED,
    wire.JOB_STATE_CANCELLING: JobState.CANCELLING,
    wire.JOB_STATE_CANCELLED: JobState.CANCELLED,
    wire.JOB_STATE_FAILED: JobState.FAILED,
    wire.JOB_STATE_SUCCEEDED: JobState.SUCCEEDED,
}


class ReportFormat(StrEnum):
    """Forms of a report."""

    MARKDOWN = "md"
    #: One file that needs no other.
    HTML = "html"
    #: The hashes of everything that the run used and made, as JSON.
    MANIFEST = "manifest"


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that was accepted."""

    #: Names the job from now on.
    job_id: str
    #: The same job was submitted before; this is the one that it started then.
    already_submitted: bool


@dataclass(frozen=True, slots=True)
class Deleted:
    """What went with a job."""

    #: Results in the coordinator's journal.
    results: int
    #: Items that had failed too often.
    dead_letters: int
    #: Files of the run folder and artifacts, as far as they are gone.
    files: int
    #: What these took.
    freed_bytes: int
    #: All files are gone. Else the artifact store or the disk failed meanwhile, and the rest goes by itself.
    swept: bool

    @classmethod
    def from_wire(cls, gone: wire.DeleteJobResponse) -> Deleted:
        """Read it."""
        return cls(
            results=gone.result_count,
            dead_letters=gone.dead_letter_count,
            files=gone.file_count,
            freed_bytes=gone.freed_bytes,
            swept=gone.swept,
        )


@dataclass(frozen=True, slots=True)
class StageProgress:
    """How far a stage is; also an event, that it went on."""

    #: Which stage, such as `label`.
    stage: str
    #: Items or steps that are done.
    done: int
    #: Items or steps of the whole stage; 0 where it is not known yet.
    total: int
    #: Seconds to its end at the present pace; None where there is none to go by.
    eta_seconds: float | None
    #: The latest figure of interest, for a person.
    note: str
    #: Items that could not be judged and are masked.
    unscorable: int
    #: Tasks that failed too often and wait for an operator.
    dead_letters: int

    @classmethod
    def from_wire(cls, stage: wire.StageProgress) -> StageProgress:
        """Read one."""
        eta = stage.eta_seconds if stage.HasField("eta_seconds") else None
        return cls(
            stage.stage, stage.done, stage.total, eta, stage.note, stage.unscorable, stage.dead_letters
        )

    def __str__(self) -> str:
        left = "" if self.eta_seconds is None else f"{self.eta_seconds:.0f} s left"
        detail = ", ".join(part for part in (self.note, left) if part)
        return f"{self.stage} {self.done}/{self.total} {detail}".rstrip()


@dataclass(frozen=True, slots=True)
class Cost:
    """What a job used, and may use."""

    #: Tokens that labelers read.
    prompt_tokens: int
    #: Tokens that they wrote.
    completion_tokens: int
    #: What both cost at the prices that the job names, in dollars; None where it names none.
    amount: float | None
    #: What they may cost, in dollars; None where nothing bounds it. `Client.resume` raises it.
    max_cost: float | None
    #: Tokens that may be read and written; None where nothing bounds them. `Client.resume` raises it.
    max_tokens: int | None

    @classmethod
    def from_wire(cls, cost: wire.Cost) -> Cost:
        """Read one."""
        return cls(
            prompt_tokens=cost.prompt_tokens,
            completion_tokens=cost.completion_tokens,
            amount=cost.amount if cost.HasField("amount") else None,
            max_cost=cost.max_cost if cost.HasField("max_cost") else None,
            max_tokens=cost.max_tokens if cost.HasField("max_tokens") else None,
        )


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is now."""

    job_id: str
    #: Name for people, from the job file.
    name: str
    state: JobState
    #: Its stages in their order, those to come included.
    stages: tuple[StageProgress, ...]
    created_at: datetime | None
    updated_at: datetime | None
    #: Why it failed, and how to mend it; empty unless it did.
    error: str
    #: Items that could not be judged and are masked.
    unscorable: int
    #: Items that failed too often and wait for an operator.
    dead_letters: int
    #: What it used so far, and may use; None from servers that do not count it.
    cost: Cost | None

    @classmethod
    def from_wire(cls, job: wire.Job) -> Job:
        """Read one."""
        return cls(
            job_id=job.job_id,
            name=job.name,
            state=known(job.state, _STATES, "job.state"),
            stages=tuple(map(StageProgress.from_wire, job.stages)),
            created_at=moment(job, "created_at"),
            updated_at=moment(job, "updated_at"),
            error=job.error,
            unscorable=job.counts.unscorable,
            dead_letters=job.counts.dead_letters,
            cost=Cost.from_wire(job.cost) if job.HasField("cost") else None,
        )


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A job's state is another."""

    #: None where this says how things are: when watching begins, and when events were lost.
    before: JobState | None
    now: JobState

    def __str__(self) -> str:
        return str(self.now)


@dataclass(frozen=True, slots=True)
class Metrics:
    """What one step of a stage measured."""

    #: Which stage, such as `reward_model` or `policy`.
    stage: str
    #: Steps of the stage that were done.
    step: int
    values: dict[str, float]

    def __str__(self) -> str:
        values = ", ".join(f"{name} {value:.4g}" for name, value in sorted(self.values.items()))
        return f"{self.stage} step {self.step}: {values}"


@dataclass(frozen=True, slots=True)
class Finished:
    """A job ended; nothing comes after this."""

    #: The job as it stays.
    job: Job

    def __str__(self) -> str:
        return f"{self.job.job_id} has {self.job.state}"


#: Something that happened to a job.
Event: TypeAlias = StateChanged | StageProgress | Metrics | Finished


def event_from_wire(event: wire.JobEvent) -> Event | None:
    """What happened; None for a kind that only a newer server knows."""
    match event.WhichOneof("event"):
        case "state_changed":
            change = event.state_changed
            before = getattr(change, "from")  # A word of Python's own.
            return StateChanged(_STATES.get(before), known(change.to, _STATES, "state_changed.to"))
        case "stage_progress":
            return StageProgress.from_wire(event.stage_progress)
        case "metrics":
            metrics = event.metrics
            return Metrics(metrics.stage, metrics.step, dict(metrics.values))
        case "finished":
            present(event.finished, "job", "finished")
            return Finished(Job.from_wire(event.finished.job))
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Preference:
    """A labelled pair, for trainers elsewhere."""

    #: The preference as a line of JSON in TRL's format, byte for byte as the job keeps it.
    trl_json: bytes
    #: The label in that line: the probability that the first candidate is preferred.
    probability_a: float
    #: Hash of the question asked (pair, template, model).
    label_id: str

    @classmethod
    def from_wire(cls, record: wire.PreferenceRecord) -> Preference:
        """Read one."""
        present(record, "soft_label", "record")
        return cls(record.trl_json, probability_a(record.soft_label, "record.soft_label"), record.label_id)

    def record(self) -> dict[str, Any]:
        """The line as a dictionary: `prompt`, `chosen`, `rejected`, `soft_label` and where it came from."""
        parsed = json.loads(self.trl_json)
        if not isinstance(parsed, dict):
            raise AnswerError("record.trl_json is no JSON object")
        return parsed


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An item that failed too often to be tried again."""

    #: Names it within its job.
    dead_letter_id: str
    #: The stage it belongs to.
    stage: str
    #: What went wrong the last time.
    error: str
    #: How often it was tried.
    attempts: int
    #: When it was tried last.
    failed_at: datetime | None
    #: The item, as the queue carried it.
    payload: bytes

    @classmethod
    def from_wire(cls, letter: wire.DeadLetter) -> DeadLetter:
        """Read one."""
        return cls(
            letter.dead_letter_id,
            letter.stage,
            letter.error,
            letter.attempts,
            moment(letter, "failed_at"),
            letter.payload,
        )

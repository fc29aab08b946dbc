"""Jobs on a cluster: submitting, watching, steering, and taking home what they made."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cached_property

from .connection import CallPolicy, Metadata, Service, Stream
from .decode import present
from .errors import JobFailedError
from .job_file import Files, JobSource, Submission
from .jobs import (
    DeadLetter,
    Deleted,
    Event,
    Finished,
    Job,
    JobState,
    Preference,
    ReportFormat,
    Submitted,
    event_from_wire,
)
from .wire.v1 import coordinator_pb2 as wire
from .wire.v1.coordinator_pb2_grpc import JobServiceStub

#: How long one opening of a job's stream lasts: a server that hangs is noticed by then.
_WATCH_SECONDS = 600.0
_FORMATS = {
    ReportFormat.MARKDOWN: wire.REPORT_FORMAT_MARKDOWN,
    ReportFormat.HTML: wire.REPORT_FORMAT_HTML,
    ReportFormat.MANIFEST: wire.REPORT_FORMAT_MANIFEST_JSON,
}


class Client(Service):
    """A coordinator's client. Its address is given, in RLAIF_SERVER, or http://127.0.0.1:7400."""

    kind = "coordinator"
    variable = "RLAIF_SERVER"
    default_address = "http://127.0.0.1:7400"
    # A job travels with its data, so a call may take longer than usual.
    default_policy = CallPolicy(timeout=120.0)

    def submit(
        self,
        job: JobSource,
        *,
        files: Files | None = None,
        seed: int | None = None,
        new: bool = False,
    ) -> Submitted:
        """Hand in a job: the path of its file, or its settings as a dictionary.

        What it names (prompts, demonstrations, templates of its own) is read from disk as seen from the job
        file, or taken from `files` by the name that the job gives it. `seed` overrides the job's. The same
        job submitted twice is one job; `new` starts another.
        """
        submission = Submission.read(job, files, seed)
        request = submission.to_wire(submission.key(new=new))
        answer = self._ask(self._stub.SubmitJob, request)
        return Submitted(answer.job_id, answer.already_submitted)

    def job(self, job_id: str) -> Job:
        """A job as it is now."""
        answer = self._ask(self._stub.GetJob, wire.GetJobRequest(job_id=job_id))
        return _job(answer)

    def jobs(self) -> Iterator[Job]:
        """All jobs, newest first."""
        token = ""
        while True:
            page = self._ask(self._stub.ListJobs, wire.ListJobsRequest(page_token=token))
            yield from map(Job.from_wire, page.jobs)
            token = page.next_page_token
            if not token:
                return

    def watch(self, job_id: str) -> Iterator[Event]:
        """What happens to a job until it has ended; first how it is now. The last event is `Finished`.

        A stream that is lost is taken up where it was, so a coordinator may restart meanwhile. How things
        are is then told anew.
        """
        seen = 0

        def open_stream(timeout: float, metadata: Metadata) -> Stream[wire.WatchJobResponse]:
            request = wire.WatchJobRequest(job_id=job_id, after_sequence=seen)
            return self._stub.WatchJob(request, timeout=timeout, metadata=metadata)

        while True:
            for answer in self._stream(open_stream, timeout=_WATCH_SECONDS, may_be_quiet=True):
                seen = answer.event.sequence
                event = event_from_wire(answer.event)
                if event is not None:
                    yield event
                if isinstance(event, Finished):
                    return
            # A server that ends the stream early goes away; its successor answers.
            time.sleep(self.policy.first_backoff)

    def wait(self, job_id: str) -> Job:
        """The job once it has succeeded; raises `JobFailedError` where it ends otherwise."""
        job = next(event.job for event in self.watch(job_id) if isinstance(event, Finished))
        if job.state is not JobState.SUCCEEDED:
            raise JobFailedError(job)
        return job

    def pause(self, job_id: str) -> Job:
        """Hand out no new work of a job; what is begun is finished."""
        return _job(self._ask(self._stub.PauseJob, wire.PauseJobRequest(job_id=job_id)))

    def resume(self, job_id: str, *, max_cost: str = "", max_tokens: int | None = None) -> Job:
        """Go on with a job that is paused or has failed, for example because its budget was spent.

        `max_cost` (dollars, as a decimal number such as "12.50") and `max_tokens` are what its labeler may
        take from now on, what it has taken included; without them its budget stays as it is.
        """
        request = wire.ResumeJobRequest(job_id=job_id, max_cost=max_cost, max_tokens=max_tokens)
        return _job(self._ask(self._stub.ResumeJob, request))

    def cancel(self, job_id: str) -> Job:
        """End a job for good; what it made stays."""
        return _job(self._ask(self._stub.CancelJob, wire.CancelJobRequest(job_id=job_id)))

    def delete(self, job_id: str) -> Deleted:
        """Remove a job that has ended, and all that it left: results, dead letters, files, models.

        Takes an operator's token. One that may still go on is refused: cancel it first. What was submitted
        can be submitted again with `new=True`.
        """
        return Deleted.from_wire(self._ask(self._stub.DeleteJob, wire.DeleteJobRequest(job_id=job_id)))

    def report(self, job_id: str, form: ReportFormat = ReportFormat.MARKDOWN) -> bytes:
        """What a job came to."""
        request = wire.GetReportRequest(job_id=job_id, format=_FORMATS[form])
        chunks: list[bytes] = []

        def open_stream(timeout: float, metadata: Metadata) -> Stream[wire.GetReportResponse]:
            # Chunks of a stream that was lost are the beginning of another.
            chunks.clear()
            return self._stub.GetReport(request, timeout=timeout, metadata=metadata)

        for answer in self._stream(open_stream):
            chunks.append(answer.chunk)
        return b"".join(chunks)

    def export(self, job_id: str) -> Iterator[Preference]:
        """The job's labelled pairs in their order, as far as they are."""
        request = wire.ExportPreferencesRequest(job_id=job_id)
        given = to_skip = 0

        def open_stream(timeout: float, metadata: Metadata) -> Stream[wire.ExportPreferencesResponse]:
            nonlocal to_skip
            # The order is the same, and it only grows.
            to_skip = given
            return self._stub.ExportPreferences(request, timeout=timeout, metadata=metadata)

        for answer in self._stream(open_stream):
            if to_skip:
                to_skip -= 1
                continue
            present(answer, "record", "response")
            given += 1
            yield Preference.from_wire(answer.record)

    def dead_letters(self, job_id: str) -> Iterator[DeadLetter]:
        """Items that failed too often to be tried again, oldest first."""
        token = ""
        while True:
            request = wire.ListDeadLettersRequest(job_id=job_id, page_token=token)
            page = self._ask(self._stub.ListDeadLetters, request)
            yield from map(DeadLetter.from_wire, page.dead_letters)
            token = page.next_page_token
            if not token:
                return

    def requeue(self, job_id: str, dead_letter_ids: Sequence[str] | None = None) -> int:
        """Have dead letters tried again, all where none are named; how many there were.

        Takes an operator's token. A job that failed goes on when it has none left.
        """
        request = wire.RequeueDeadLettersRequest(
            job_id=job_id, dead_letter_ids=dead_letter_ids or (), all=dead_letter_ids is None
        )
        return self._ask(self._stub.RequeueDeadLetters, request).requeued_count

    @cached_property
    def _stub(self) -> JobServiceStub:
        return JobServiceStub(self._channel)


def _job(
    answer: wire.GetJobResponse | wire.PauseJobResponse | wire.ResumeJobResponse | wire.CancelJobResponse,
) -> Job:
    present(answer, "job", "response")
    return Job.from_wire(answer.job)

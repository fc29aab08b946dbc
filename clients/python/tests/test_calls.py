"""Retries, lost streams and senseless answers, against a server that fails by script."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from rlaif_client import (
    AnswerError,
    CallError,
    CallPolicy,
    Client,
    Comparison,
    ErrorCode,
    Finished,
    Labeler,
    Pair,
    StageProgress,
    Unscorable,
)
from rlaif_client.wire.v1 import common_pb2, coordinator_pb2, labeler_pb2
from rlaif_client.wire.v1.coordinator_pb2_grpc import (
    JobServiceServicer,
    add_JobServiceServicer_to_server,
)
from rlaif_client.wire.v1.labeler_pb2_grpc import LabelServiceServicer, add_LabelServiceServicer_to_server

#: Patient enough for a busy machine.
QUICK = CallPolicy(timeout=5.0, patience=4.0, first_backoff=0.01, max_backoff=0.02)

Compare = labeler_pb2.CompareRequest
Questions = Iterator[labeler_pb2.CompareStreamRequest]


@dataclass
class Script(LabelServiceServicer, JobServiceServicer):
    """Does what a test says, one step a call, and remembers what was asked."""

    compare: list[Callable[[grpc.ServicerContext], labeler_pb2.ComparisonAnswer]] = field(
        default_factory=list
    )
    #: Answers of each stream before it breaks; the stream after the last is whole.
    compare_stream: list[int] = field(default_factory=list)
    watch: list[list[coordinator_pb2.JobEvent]] = field(default_factory=list)
    export_before_break: int = 0
    asked: list[object] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def Compare(self, request: Compare, context: grpc.ServicerContext) -> labeler_pb2.CompareResponse:  # noqa: ARG002, N802
        self.times.append(time.monotonic())
        self.asked.append(dict(context.invocation_metadata()).get("grpc-previous-rpc-attempts"))
        return labeler_pb2.CompareResponse(answer=self.compare.pop(0)(context))

    def CompareStream(  # noqa: N802
        self, request_iterator: Questions, context: grpc.ServicerContext
    ) -> Iterator[labeler_pb2.CompareStreamResponse]:
        questions = [request.question for request in request_iterator]
        self.asked.append([question.pair.prompt.text for question in questions])
        before_break = self.compare_stream.pop(0) if self.compare_stream else len(questions)
        # In another order than asked.
        for question in list(reversed(questions))[:before_break]:
            answer = labeled(0.25)
            answer.id = question.id
            yield labeler_pb2.CompareStreamResponse(answer=answer)
        if before_break < len(questions):
            context.abort(grpc.StatusCode.UNAVAILABLE, "going away")

    def WatchJob(  # noqa: N802
        self, request: coordinator_pb2.WatchJobRequest, context: grpc.ServicerContext
    ) -> Iterator[coordinator_pb2.WatchJobResponse]:
        self.asked.append(request.after_sequence)
        for event in self.watch.pop(0):
            yield coordinator_pb2.WatchJobResponse(event=event)
        if self.watch:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the coordinator is shutting down")

    def ExportPreferences(  # noqa: N802
        self, request: coordinator_pb2.ExportPreferencesRequest, context: grpc.ServicerContext
    ) -> Iterator[coordinator_pb2.ExportPreferencesResponse]:
        self.asked.append(request.job_id)
        for i in range(5):
            if i == self.export_before_break and len(self.asked) == 1:
                context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
            label = common_pb2.SoftLabel(probability_a=0.5)
            record = coordinator_pb2.PreferenceRecord(trl_json=b"{}", soft_label=label, label_id=str(i))
            yield coordinator_pb2.ExportPreferencesResponse(record=record)


@pytest.fixture
def script() -> Script:
    # What it leaves out answers UNIMPLEMENTED.
    return Script()  # type: ignore[abstract]


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """Where it is served: `127.0.0.1:port`."""
    server = grpc.server(ThreadPoolExecutor(4))
    add_LabelServiceServicer_to_server(script, server)
    add_JobServiceServicer_to_server(script, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
def address(script: Script) -> Iterator[str]:
    with serving(script) as place:
        yield f"http://{place}"


@pytest.fixture
def labeler(address: str) -> Iterator[Labeler]:
    with Labeler(address, policy=QUICK) as labeler:
        yield labeler


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address, policy=QUICK) as client:
        yield client


def labeled(p: float | None) -> labeler_pb2.ComparisonAnswer:
    label = common_pb2.SoftLabel(probability_a=p)
    order = labeler_pb2.OrderScores(first_logprob=-1.0, second_logprob=-2.0, prefers_first=label)
    comparison = labeler_pb2.Comparison(label=label, ab=order, ba=order)
    return labeler_pb2.ComparisonAnswer(comparison=comparison)


def refuse(
    code: grpc.StatusCode, retry_after: float | None = None
) -> Callable[[grpc.ServicerContext], labeler_pb2.ComparisonAnswer]:
    def answer(context: grpc.ServicerContext) -> labeler_pb2.ComparisonAnswer:
        if retry_after is not None:
            delay = duration_pb2.Duration(nanos=int(retry_after * 1e9))
            detail = any_pb2.Any()
            detail.Pack(error_details_pb2.RetryInfo(retry_delay=delay))
            status = status_pb2.Status(code=8, message="full", details=[detail])
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, "full")
        raise AssertionError("abort raises")

    return answer


def label(labeler: Labeler) -> Comparison | Unscorable:
    return labeler.label("Hi", "a", "b", template="t").result


def test_a_service_that_is_away_is_asked_again(script: Script, labeler: Labeler) -> None:
    away = refuse(grpc.StatusCode.UNAVAILABLE)
    script.compare = [away, away, lambda _: labeled(0.25)]
    assert isinstance(label(labeler), Comparison)
    assert script.asked == [None, "1", "2"], "an attempt says how many were before it"


def test_a_service_that_is_away_for_long_is_looked_for_all_the_time() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as port,
        ThreadPoolExecutor(1) as caller,
        Labeler(f"http://127.0.0.1:{port.getsockname()[1]}") as patient,
    ):
        caller.submit(label, patient)
        # A second lies between tries to connect; gRPC left alone soon waits for longer than this.
        port.settimeout(4.0)
        for _ in range(8):
            port.accept()[0].close()


def test_a_name_of_several_instances_reaches_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = [Script(), Script()]  # type: ignore[abstract]
    most = 1000  # The second may be connected to while the first answers.
    for script in scripts:
        script.compare = [lambda _: labeled(0.25)] * most
    with serving(scripts[0]) as one, serving(scripts[1]) as other:
        connect = grpc.insecure_channel

        def resolved(_name: str, options: list[tuple[str, str | int]]) -> grpc.Channel:
            return connect(f"ipv4:{one},{other}", options)

        monkeypatch.setattr(grpc, "insecure_channel", resolved)
        with Labeler("http://labelers:7420", policy=QUICK) as labelers:
            while len(scripts[0].asked) + len(scripts[1].asked) < most:
                label(labelers)
                if all(script.asked for script in scripts):
                    break
    assert all(script.asked for script in scripts)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_by_default_a_service_may_be_away_for_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("rlaif_client.connection.time", clock)
    with Labeler("http://127.0.0.1:1") as labeler, pytest.raises(CallError) as refused:
        label(labeler)
    assert refused.value.code is ErrorCode.UNAVAILABLE
    # The next pause, a second at most, would have outlasted the patience.
    assert 29.0 <= clock.now < 30.0


def test_without_patience_nothing_is_repeated(script: Script, labeler: Labeler) -> None:
    script.compare = [refuse(grpc.StatusCode.UNAVAILABLE), lambda _: labeled(0.25)]
    with Labeler(labeler.address, policy=CallPolicy(patience=0.0)) as plain, pytest.raises(CallError):
        label(plain)
    assert len(script.times) == 1


def test_no_attempt_begins_after_the_deadline(script: Script, labeler: Labeler) -> None:
    script.compare = [refuse(grpc.StatusCode.UNAVAILABLE)] * 1000
    policy = CallPolicy(timeout=0.5, first_backoff=0.02, max_backoff=0.02)
    # Refused, or cut off in the last attempt.
    with Labeler(labeler.address, policy=policy) as patient, pytest.raises(CallError, match=r"full|Deadline"):
        label(patient)
    assert len(script.times) > 1
    assert script.times[-1] - script.times[0] < policy.timeout


def test_a_hint_of_a_busy_service_is_honoured(script: Script, labeler: Labeler) -> None:
    script.compare = [refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after=0.3), lambda _: labeled(0.25)]
    label(labeler)
    assert script.times[1] - script.times[0] >= 0.3


def test_patience_ends_and_the_last_refusal_is_told_with_its_hint(script: Script, labeler: Labeler) -> None:
    script.compare = [refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after=0.02)] * 1000
    says = r"the labeler at http://127\.0\.0\.1:\d+: full"
    policy = CallPolicy(patience=0.2, first_backoff=0.01, max_backoff=0.02)
    with Labeler(labeler.address, policy=policy) as patient, pytest.raises(CallError, match=says) as refused:
        label(patient)
    assert (refused.value.code, refused.value.retry_after) == (ErrorCode.BUSY, 0.02)
    assert 1 < len(script.times) < 1000


def test_a_hint_beyond_the_deadline_is_not_waited_for(script: Script, labeler: Labeler) -> None:
    script.compare = [refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after=0.9)] * 2
    impatient = Labeler(labeler.address, policy=CallPolicy(timeout=0.5, max_backoff=0.2))
    with impatient, pytest.raises(CallError):
        label(impatient)
    assert len(script.times) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT])
def test_what_another_try_does_not_mend_is_not_repeated(
    script: Script, labeler: Labeler, code: grpc.StatusCode
) -> None:
    script.compare = [refuse(code), lambda _: labeled(0.25)]
    with pytest.raises(CallError):
        label(labeler)
    assert len(script.times) == 1


def test_a_server_that_hangs_is_given_up_when_time_is_over(script: Script, labeler: Labeler) -> None:
    def hang(context: grpc.ServicerContext) -> labeler_pb2.ComparisonAnswer:
        while context.is_active():
            time.sleep(0.01)
        return labeled(0.25)

    script.compare = [hang]
    with (
        Labeler(labeler.address, policy=CallPolicy(timeout=0.2)) as impatient,
        pytest.raises(CallError) as refused,
    ):
        label(impatient)
    assert refused.value.code is ErrorCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (labeled(None), "comparison.label.probability_a is missing"),
        (labeled(0.1), r"no multiple of 2\^-41"),
        (labeled(1.5), r"no multiple of 2\^-41 in \[0, 1\]"),
        (labeled(float("nan")), "must be a finite number"),
        (labeler_pb2.ComparisonAnswer(), "neither a comparison nor why"),
        (
            labeler_pb2.ComparisonAnswer(unscorable=common_pb2.Unscorable()),
            "unscorable.reason is unspecified",
        ),
    ],
)
def test_an_answer_that_lacks_its_number_is_an_error_and_never_0(
    script: Script, labeler: Labeler, answer: labeler_pb2.ComparisonAnswer, says: str
) -> None:
    script.compare = [lambda _: answer]
    with pytest.raises(AnswerError, match=says):
        label(labeler)


def test_what_a_lost_stream_left_open_is_asked_again_and_nothing_twice(
    script: Script, labeler: Labeler
) -> None:
    script.compare_stream = [2, 0, 1]
    pairs = [Pair(str(i), "a", "b") for i in range(5)]
    answered = [pairs.index(pair) for pair, _ in labeler.label_many(pairs, template="t")]
    assert sorted(answered) == [0, 1, 2, 3, 4]
    assert script.asked == [["0", "1", "2", "3", "4"], ["0", "1", "2"], ["0", "1", "2"], ["0", "1"]]


def test_questions_are_read_a_stream_at_a_time(script: Script, labeler: Labeler) -> None:
    read = 0

    def endless() -> Iterator[Pair]:
        nonlocal read
        for i in itertools.count():
            read = i + 1
            yield Pair(str(i), "a", "b")

    answers = labeler.label_many(endless(), template="t")
    assert len(list(itertools.islice(answers, 10))) == 10
    assert read == 64
    assert len(script.asked) == 1


def test_a_watch_goes_on_after_what_it_has_seen(script: Script, client: Client) -> None:
    def at(sequence: int, done: int) -> coordinator_pb2.JobEvent:
        progress = coordinator_pb2.StageProgress(stage="label", done=done, total=3)
        return coordinator_pb2.JobEvent(sequence=sequence, stage_progress=progress)

    job = coordinator_pb2.Job(job_id="j", state=coordinator_pb2.JOB_STATE_SUCCEEDED)
    end = coordinator_pb2.JobEvent(sequence=9, finished=coordinator_pb2.Finished(job=job))
    # The last of the first stream is of a kind that only a newer server knows.
    script.watch = [[at(3, 1), coordinator_pb2.JobEvent(sequence=4)], [], [at(7, 2)], [end]]
    events = list(client.watch("j"))
    assert script.asked == [0, 4, 4, 7]
    assert [event.done for event in events if isinstance(event, StageProgress)] == [1, 2]
    assert isinstance(events[-1], Finished)


def test_an_export_goes_on_where_it_was_lost(script: Script, client: Client) -> None:
    script.export_before_break = 3
    assert [pair.label_id for pair in client.export("j")] == ["0", "1", "2", "3", "4"]
    assert len(script.asked) == 2


def test_a_watch_of_a_server_that_is_gone_ends() -> None:
    policy = CallPolicy(patience=0.2)
    with Client("http://127.0.0.1:1", policy=policy) as gone, pytest.raises(CallError) as refused:
        list(gone.watch("j"))
    assert refused.value.code is ErrorCode.UNAVAILABLE

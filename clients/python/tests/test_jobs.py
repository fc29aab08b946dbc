"""Jobs on a real cluster, from submission to report."""

from __future__ import annotations

import itertools
import json
import time
import tomllib
from pathlib import Path

import pytest
from harness import Cluster, write_job

from rlaif_client import (
    CallError,
    Client,
    ErrorCode,
    Event,
    Finished,
    JobFailedError,
    JobState,
    ReportFormat,
    StageProgress,
    StateChanged,
)


def test_a_job_leaves_what_one_process_leaves(client: Client, cluster: Cluster, tmp_path: Path) -> None:
    job = write_job(tmp_path, name="whole")
    submitted = client.submit(job)
    assert not submitted.already_submitted
    events = list(client.watch(submitted.job_id))
    assert isinstance(events[0], StateChanged)
    assert isinstance(events[-1], Finished)
    assert events[-1].job.state is JobState.SUCCEEDED, events[-1].job
    for stage in events[-1].job.stages:
        assert stage.done == stage.total > 0, stage

    cluster.run("run", str(job), "--out", str(tmp_path / "alone"))
    alone = (tmp_path / "alone" / "manifest.json").read_bytes()
    assert json.loads(client.report(submitted.job_id, ReportFormat.MANIFEST)) == json.loads(alone)
    assert client.report(submitted.job_id).startswith(b"# ")
    assert b"</html>" in client.report(submitted.job_id, ReportFormat.HTML)


def test_labelled_pairs_come_in_trls_format_bit_for_bit(client: Client, finished_job: str) -> None:
    pairs = list(client.export(finished_job))
    assert len(pairs) == 32
    for pair in pairs:
        record = pair.record()
        assert record["soft_label"] == pair.probability_a
        assert record["label_id"] == pair.label_id
        assert {"prompt", "chosen", "rejected"} <= set(record)
    assert list(client.dead_letters(finished_job)) == []


def test_the_same_job_is_one_job_whoever_asks_and_another_seed_is_another(
    client: Client, tmp_path: Path
) -> None:
    job = write_job(tmp_path, name="twice")
    first, again = client.submit(job), client.submit(job)
    assert again.job_id == first.job_id
    assert (first.already_submitted, again.already_submitted) == (False, True)
    others = [client.submit(job, seed=4).job_id, client.submit(job, new=True).job_id]
    assert len({first.job_id, *others}) == 3
    assert {first.job_id, *others} <= {job.job_id for job in client.jobs()}
    for job_id in (first.job_id, *others):
        assert client.cancel(job_id).state in (JobState.CANCELLING, JobState.CANCELLED)
    with pytest.raises(JobFailedError, match="cancelled") as failed:
        client.wait(first.job_id)
    assert failed.value.job.job_id == first.job_id


def test_a_job_may_be_a_dictionary_and_its_files_in_memory(client: Client, tmp_path: Path) -> None:
    settings = tomllib.loads(write_job(tmp_path, name="in memory").read_text())
    settings["data"] = {"prompts": "mine.jsonl", "heldout_prompts": "others.jsonl"}
    settings["labeler"]["template"] = "judge.toml"
    template = (Path(__file__).parent / "judge.toml").read_text()
    prompts = {"mine.jsonl": '{"prompt": "Tell me"}\n' * 4, "others.jsonl": '{"prompt": "What is it"}\n' * 4}
    files = prompts | {"judge.toml": template}
    job = client.submit(settings, files=files)
    first = next(e for e in client.watch(job.job_id) if isinstance(e, StageProgress) and e.stage == "label")
    assert first.total == 32
    client.cancel(job.job_id)


def test_all_that_is_wrong_with_a_job_comes_back_at_once(client: Client, tmp_path: Path) -> None:
    settings = tomllib.loads(write_job(tmp_path).read_text())
    settings["rl"]["batch_size"] = 0
    settings["rl"]["reinforce"]["beta"] = 2.0
    with pytest.raises(CallError, match=r"job_toml\.rl\.batch_size: must be") as refused:
        client.submit(settings)
    assert refused.value.code is ErrorCode.INVALID
    fields = [violation.field for violation in refused.value.violations]
    assert fields == ["job_toml.rl.batch_size", "job_toml.rl.reinforce.beta"]


def test_a_paused_job_stands_still_until_it_is_resumed(client: Client, tmp_path: Path) -> None:
    job = client.submit(write_job(tmp_path, name="paused", pairs=64)).job_id
    assert client.pause(job).state is JobState.PAUSED
    assert client.job(job).state is JobState.PAUSED
    assert client.resume(job).state is JobState.RUNNING
    assert client.wait(job).state is JobState.SUCCEEDED


def test_a_job_is_watched_on_when_the_coordinator_is_killed(
    client: Client, cluster: Cluster, tmp_path: Path
) -> None:
    job = client.submit(write_job(tmp_path, name="watched", pairs=256)).job_id
    watched: list[Event] = []
    killed = False
    for event in client.watch(job):
        watched.append(event)
        if isinstance(event, StageProgress) and event.stage == "label" and event.done >= 8 and not killed:
            assert event.done < event.total, "the job was faster than the test: raise its pairs"
            killed = True
            cluster.coordinator.end()
            # Longer than one attempt lasts.
            time.sleep(1)
            cluster.start_coordinator()
    assert killed
    assert isinstance(watched[-1], Finished)
    assert watched[-1].job.state is JobState.SUCCEEDED
    # Told anew after the loss, and never back.
    done = [e.done for e in watched if isinstance(e, StageProgress) and e.stage == "label"]
    assert all(a <= b for a, b in itertools.pairwise(done)), done


def test_a_job_that_has_ended_is_deleted_for_good(client: Client, finished_job: str, tmp_path: Path) -> None:
    path = write_job(tmp_path, name="deleted", pairs=64)
    job = client.submit(path).job_id
    with pytest.raises(CallError, match="cancel it first") as refused:
        client.delete(job)
    assert refused.value.code is ErrorCode.WRONG_STATE
    client.cancel(job)
    gone = client.delete(job)
    assert gone.swept
    assert gone.files > 0
    assert gone.freed_bytes > 0
    for ask in (client.job, client.delete):
        with pytest.raises(CallError, match="was deleted") as refused:
            ask(job)
        assert refused.value.code is ErrorCode.NOT_FOUND, ask
    with pytest.raises(CallError, match="was deleted; choose another key"):
        client.submit(path)
    another = client.submit(path, new=True).job_id
    assert another != job
    client.cancel(another)
    assert len(list(client.export(finished_job))) == 32, "another job loses nothing"


def test_an_unknown_job_is_said_to_be_unknown(client: Client) -> None:
    for ask in (client.job, client.pause, client.report, lambda job: list(client.watch(job))):
        with pytest.raises(CallError) as refused:
            ask("no-such-job")
        assert refused.value.code is ErrorCode.NOT_FOUND, ask

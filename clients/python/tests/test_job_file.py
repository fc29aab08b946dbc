"""Jobs as they are submitted, without a server."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rlaif_client import ConfigurationError
from rlaif_client.job_file import Submission, to_toml

JOB = """\
name = "t"   # kept, as every other letter of the file
labeler = { model = "m", template = "own.toml" }
data = { prompts = "p.jsonl", heldout_prompts = "p.jsonl", demonstrations = "d.jsonl" }
evaluate = { templates = ["sentiment/review", "own.toml"] }
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    for name in ("own.toml", "p.jsonl", "d.jsonl"):
        (tmp_path / name).write_text(f"this is {name}")
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path / "job.toml"


def test_a_job_travels_as_it_was_written_with_the_files_it_needs(job: Path) -> None:
    submission = Submission.read(job, None, None)
    assert submission.toml == JOB
    # A file that is named twice travels once, and a template that is built in not at all.
    assert sorted(submission.files) == ["d.jsonl", "own.toml", "p.jsonl"]
    attachment = submission.to_wire("key").attachments[0]
    assert attachment.sha256 == hashlib.sha256(attachment.content).hexdigest()


def test_the_key_is_the_jobs_and_its_files_and_no_other_has_a_new_one(job: Path) -> None:
    def key(*, new: bool = False, seed: int | None = None) -> str:
        return Submission.read(job, None, seed).key(new=new)

    first = key()
    assert key() == first
    assert len({first, key(seed=7), key(new=True), key(new=True)}) == 4
    (job.parent / "p.jsonl").write_text("another")
    assert key() != first


def test_files_may_be_in_memory_and_one_that_nobody_names_is_a_mistake(job: Path) -> None:
    submission = Submission.read(job, {"p.jsonl": "mine"}, None)
    assert submission.files["p.jsonl"] == b"mine"
    with pytest.raises(ConfigurationError, match=r"names no file 'q\.jsonl'"):
        Submission.read(job, {"q.jsonl": "mine"}, None)
    (job.parent / "p.jsonl").unlink()
    with pytest.raises(ConfigurationError, match=r"cannot read a file of the job, .*p\.jsonl: No such"):
        Submission.read(job, None, None)
    job.write_text("name = ")
    with pytest.raises(ConfigurationError, match=r"job\.toml: Invalid value"):
        Submission.read(job, None, None)


def test_settings_come_back_from_toml_as_they_were() -> None:
    settings: dict[str, Any] = {
        "name": 'quo"te\\ \n\t naïve 🚀 \x7f',
        "seed": 3,
        "lr": 1e-05,
        "large": 1e22,
        "chat": False,
        "odd key.": [1, "two", [3.5], {"four": True}],
        "rl": {"reinforce": {"policy": {"lr": 0.001}}},
        "left_out": None,
    }
    expected = {key: value for key, value in settings.items() if value is not None}
    assert tomllib.loads(to_toml(settings)) == expected
    with pytest.raises(ConfigurationError, match=r"data\.prompts must be a text"):
        to_toml({"data": {"prompts": object()}})

"""The examples of clients/README.md, as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import REPOSITORY, Cluster, write_job

from rlaif_client import Client, JobState


def examples() -> list[str]:
    text = (REPOSITORY / "clients" / "README.md").read_text()
    return [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "grpcurl" in block]


@pytest.fixture(params=["grpcurl", "reflecting.py"])
def search_path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where `grpcurl` is found: itself, or a client that knows only what servers reflect."""
    path = os.environ["PATH"]
    if request.param == "grpcurl":
        if shutil.which("grpcurl") is None:
            pytest.skip("grpcurl is not installed")
        return path
    instead = tmp_path / "grpcurl"
    client = Path(__file__).with_name(request.param)
    instead.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{client}" "$@"\n')
    instead.chmod(0o755)
    return f"{tmp_path}:{path}"


def script(example: str, ended: str, going_on: str, addresses: dict[str, str], secrets: Path) -> str:
    """An example of this cluster's addresses and jobs."""

    def of_a_job(line: str) -> str:
        # What steers a job takes one that goes on; what reads its results, one that has ended.
        steers = re.search("PauseJob|Requeue", line)
        return line.replace('"JOB"', f'"{going_on if steers else ended}"')

    text = "\n".join(["set -euo pipefail", *map(of_a_job, example.splitlines())])
    text = text.replace("deploy/compose/.secrets", str(secrets))
    for port, address in addresses.items():
        text = text.replace(f":{port}", ":" + address.rsplit(":", 1)[1])
    return text


@pytest.mark.skipif(shutil.which("jq") is None, reason="the examples need jq")
def test_every_example_works_through_reflection(
    search_path: str,
    client: Client,
    cluster: Cluster,
    finished_job: str,
    labeler_address: str,
    policy_address: str,
    guarded: str,
    secrets: Path,
    tmp_path: Path,
) -> None:
    workers = {
        "7410": labeler_address,
        "7411": cluster.start_worker("reward", job=finished_job),
        "7412": policy_address,
        "7413": cluster.start_worker("learner"),
    }
    going_on = client.submit(write_job(tmp_path / "going-on", name="going-on", steps=1000)).job_id
    assert len(examples()) == 6
    for example in examples():
        coordinator = guarded if "-cacert" in example else cluster.address
        text = script(example, finished_job, going_on, {"7400": coordinator, **workers}, secrets)
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=REPOSITORY,
            env={**os.environ, "PATH": search_path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        assert done.stdout.strip(), text
    assert client.job(going_on).state is JobState.PAUSED
    client.cancel(going_on)
    # One of them has submitted the quickstart job, whose model need not be here.
    for job in client.jobs():
        if job.name == "quickstart" and job.state not in ("failed", "cancelled"):
            client.cancel(job.job_id)

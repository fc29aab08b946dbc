"""The examples of clients/README.md, as they stand there, where grpcurl and jq are installed."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from harness import REPOSITORY, Cluster

from rlaif_client import Client


def examples() -> list[str]:
    text = (REPOSITORY / "clients" / "README.md").read_text()
    return [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "-plaintext" in block]


@pytest.mark.skipif(not (shutil.which("grpcurl") and shutil.which("jq")), reason="needs grpcurl and jq")
def test_every_example_works_through_reflection(
    client: Client, cluster: Cluster, finished_job: str, labeler_address: str, policy_address: str
) -> None:
    addresses = {
        "7400": cluster.address,
        "7410": labeler_address,
        "7411": cluster.start_worker("reward", job=finished_job),
        "7412": policy_address,
        "7413": cluster.start_worker("learner"),
    }
    assert len(examples()) == 4
    for example in examples():
        # A job that has ended cannot be paused.
        lines = [line for line in example.splitlines() if "PauseJob" not in line]
        script = "\n".join(["set -euo pipefail", *lines]).replace('"JOB"', f'"{finished_job}"')
        for port, address in addresses.items():
            script = script.replace(f":{port}", ":" + address.rsplit(":", 1)[1])
        done = subprocess.run(
            ["bash", "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{script}\n{done.stderr}"
        assert done.stdout.strip(), script
    # One of them has submitted the quickstart job, whose model need not be here.
    for job in client.jobs():
        if job.name == "quickstart" and job.state not in ("failed", "cancelled"):
            client.cancel(job.job_id)

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import TINY, Cluster, eventually, has_its_queue, write_job

from rlaif_client import Client


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RLAIF_SERVER", "RLAIF_TOKEN", "RLAIF_TOKEN_FILE", "RLAIF_CA_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def binary() -> Path:
    """The program whose services are called."""
    path = os.environ.get("RLAIF_BINARY")
    if not path:
        pytest.skip("RLAIF_BINARY names no rlaif binary")
    return Path(path).resolve()


@pytest.fixture(scope="session")
def cluster(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A coordinator with one worker of each kind."""
    cluster = Cluster(binary, tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start_coordinator()
        cluster.start_worker("reward")
        cluster.start_worker("learner")
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="session")
def client(cluster: Cluster, labeler_address: str, policy_address: str) -> Iterator[Client]:
    """A client of a coordinator that has all workers that a job needs."""
    assert labeler_address
    assert policy_address
    with Client(cluster.address) as client:
        eventually("the coordinator has its queue", lambda: has_its_queue(client))
        yield client


@pytest.fixture(scope="session")
def labeler_address(cluster: Cluster) -> str:
    return cluster.start_worker("labeler", model=str(TINY))


@pytest.fixture(scope="session")
def policy_address(cluster: Cluster) -> str:
    return cluster.start_worker("rollout", model=str(TINY), chat="false")


@pytest.fixture(scope="session")
def finished_job(client: Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job that has gone through every stage."""
    job = client.submit(write_job(tmp_path_factory.mktemp("finished"), name="finished"))
    return client.wait(job.job_id).job_id

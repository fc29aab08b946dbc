from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import REPOSITORY, TINY, Cluster, eventually, has_its_queue, write_job

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


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate and tokens by the script that makes those of the compose cluster."""
    if shutil.which("openssl") is None:
        pytest.skip("deploy/compose/secrets needs openssl")
    folder = tmp_path_factory.mktemp("secrets")
    script = REPOSITORY / "deploy" / "compose" / "secrets"
    subprocess.run([script], env={"PATH": "/usr/bin:/bin", "RLAIF_SECRETS": str(folder)}, check=True)
    return folder


@pytest.fixture(scope="session")
def guarded(binary: Path, secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a coordinator that asks for TLS and a token."""
    cluster = Cluster(binary, tmp_path_factory.mktemp("guarded"))
    try:
        certificate, key = secrets / "server_certificate", secrets / "server_key"
        settings = {
            "RLAIF__SERVER__TLS": f'{{ certificate = "{certificate}", key = "{key}" }}',
            "RLAIF__SERVER__AUTH__ENABLED": "true",
        }
        for role in ("client", "admin"):
            known = f'{{ role = "{role}", token = {{ file = "{secrets}/{role}_token" }} }}'
            settings[f"RLAIF__SERVER__AUTH__TOKENS__{role.upper()}"] = known
        cluster.start_coordinator(settings)
        address = f"https://127.0.0.1:{cluster.port}"
        token, ca = secrets / "client_token", secrets / "server_certificate"
        with Client(address, token_file=token, ca_file=ca) as client:
            eventually("the coordinator has its queue", lambda: has_its_queue(client))
        yield address
    finally:
        cluster.close()

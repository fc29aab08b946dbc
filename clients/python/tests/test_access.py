"""TLS and tokens, as the compose cluster has them, and variables as the command has them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rlaif_client import CallError, CallPolicy, Client, ConfigurationError, ErrorCode

# What it cannot reach it does not ask again for long.
IMPATIENT = CallPolicy(patience=0.0)


def test_variables_say_where_the_server_is_and_who_we_are(
    guarded: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLAIF_SERVER", guarded)
    monkeypatch.setenv("RLAIF_CA_FILE", str(secrets / "server_certificate"))
    monkeypatch.setenv("RLAIF_TOKEN", (secrets / "client_token").read_text())
    with Client() as client:
        assert list(client.jobs()) == []
    # A file goes before a value.
    monkeypatch.setenv("RLAIF_TOKEN_FILE", str(secrets / "admin_token"))
    monkeypatch.setenv("RLAIF_TOKEN", "not a known one")
    with Client() as client, pytest.raises(CallError) as refused:
        client.requeue("no-such-job")
    assert refused.value.code is ErrorCode.NOT_FOUND, "an operator may ask that"


def test_the_variable_of_authorities_does_not_forbid_a_service_without_tls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RLAIF_CA_FILE", "/no/such.pem")
    Client("http://127.0.0.1:7400").close()
    with pytest.raises(ConfigurationError, match=r"cannot read /no/such\.pem"):
        Client("https://127.0.0.1:7400")


def test_strangers_and_those_who_may_not_are_told_apart(guarded: str, secrets: Path) -> None:
    ca = secrets / "server_certificate"
    with Client(guarded, ca_file=ca) as client, pytest.raises(CallError, match="send a token") as refused:
        list(client.jobs())
    assert refused.value.code is ErrorCode.UNAUTHENTICATED
    token = secrets / "client_token"
    with Client(guarded, ca_file=ca, token_file=token) as client:
        with pytest.raises(CallError) as refused:
            client.requeue("no-such-job")
        assert refused.value.code is ErrorCode.FORBIDDEN
        with pytest.raises(CallError) as refused:
            client.delete("no-such-job")
        assert refused.value.code is ErrorCode.FORBIDDEN


def test_a_certificate_of_another_authority_is_refused_and_named(
    guarded: str, secrets: Path, tmp_path: Path
) -> None:
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-subj", "/CN=other", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "other.pem")),
    ]
    subprocess.run(command, check=True, capture_output=True)
    token = secrets / "client_token"
    other = Client(guarded, ca_file=tmp_path / "other.pem", token_file=token, policy=IMPATIENT)
    with other as client, pytest.raises(CallError, match="ca_file must hold the authority") as refused:
        list(client.jobs())
    assert refused.value.code is ErrorCode.UNAVAILABLE


def test_a_server_that_is_not_there_is_named() -> None:
    with Client("http://127.0.0.1:1", policy=IMPATIENT) as client, pytest.raises(CallError) as refused:
        list(client.jobs())
    assert str(refused.value).startswith("the coordinator at http://127.0.0.1:1: ")
    assert refused.value.code is ErrorCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("address", "how", "says"),
    [
        ("127.0.0.1:7400", {}, "no address like http://"),
        ("http://host:port", {}, "no address like http://"),
        ("http://example.org:7400", {"token": "t" * 32}, "in the clear"),
        ("https://example.org", {}, "needs ca_file"),
        ("https://example.org", {"ca_file": "/no/such.pem"}, "cannot read /no/such.pem"),
        ("https://example.org", {"ca_file": __file__}, "holds no CERTIFICATE"),
        ("http://127.0.0.1:7400", {"ca_file": __file__}, "must be https"),
        ("http://127.0.0.1:7400", {"token": "naïve"}, "printable ASCII"),
        ("http://127.0.0.1:7400", {"token_file": "/no/such"}, "cannot read the token in /no/such"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_sent(
    address: str, how: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Client(address, token=how.get("token"), token_file=how.get("token_file"), ca_file=how.get("ca_file"))

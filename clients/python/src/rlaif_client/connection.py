"""Connections to services: where one is, who we are, and how calls are bounded in time and repeated.

It behaves as the `rlaif` command does: the same variables, the same refusals to send a token in the clear,
the same pauses.
"""

from __future__ import annotations

import ipaddress
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Protocol, Self, TypeVar
from urllib.parse import urlsplit

import grpc

from .errors import AnswerError, CallError, ConfigurationError, ErrorCode, call_error

#: Questions of one stream: enough to fill a batch of the service, few enough for one deadline.
_QUESTIONS = 64

Asked = TypeVar("Asked")
Request = TypeVar("Request")
Answer = TypeVar("Answer")
Request_contra = TypeVar("Request_contra", contravariant=True)
Answer_co = TypeVar("Answer_co", covariant=True)
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """Deadline of a call, and how it is repeated while the service is away or overloaded. In seconds."""

    #: Time for a call with all its attempts; the server is told how much is left.
    timeout: float = 60.0
    #: How long it is repeated, from its first failure: as long as a service that is replaced may be away. 0
    #: repeats nothing.
    patience: float = 30.0
    #: Pause before the second attempt; doubled for each one after, with jitter.
    first_backoff: float = 0.1
    #: Longest such pause; a server's own hint may be longer.
    max_backoff: float = 1.0

    def __post_init__(self) -> None:
        if self.timeout <= 0 or self.patience < 0 or not 0 < self.first_backoff <= self.max_backoff:
            raise ConfigurationError(
                f"{self} must have a timeout above 0, a patience of at least 0, and a first_backoff above 0 "
                "that is no longer than max_backoff"
            )

    def pause(self, attempt: int, error: CallError) -> float:
        """How long to wait after `attempt`, counted from 1, has failed.

        It is at random between half and all of the backoff, so that clients which failed together do not
        come back together; the same spread is put on top of a server's hint.
        """
        doubled = self.first_backoff * float(2 ** min(attempt - 1, 16))
        backoff = min(doubled, self.max_backoff) * random.uniform(0.5, 1.0)  # noqa: S311
        if error.retry_after is not None and error.retry_after > backoff:
            return error.retry_after * random.uniform(1.0, 1.2)  # noqa: S311
        return backoff


class UnaryCall(Protocol[Request_contra, Answer_co]):
    """A generated method with one answer."""

    def __call__(
        self, request: Request_contra, timeout: float | None = None, metadata: Metadata | None = None
    ) -> Answer_co:
        """Ask, and wait for the answer."""


class Stream(Protocol[Answer_co]):
    """Answers that come one by one."""

    def __iter__(self) -> Iterator[Answer_co]:
        """Each as it comes."""

    def cancel(self) -> bool:
        """Ask for no more."""


class StreamCall(Protocol[Request_contra, Answer_co]):
    """A generated method that takes a stream of questions and gives a stream of answers."""

    def __call__(
        self,
        request_iterator: Iterator[Request_contra],
        timeout: float | None = None,
        metadata: Metadata | None = None,
    ) -> Stream[Answer_co]:
        """Ask, and be ready to read."""


class Service:
    """What clients of all services share. Use one as a context manager, or close it; threads may share it."""

    #: How the service is called in messages.
    kind: ClassVar[str]
    #: The variable that has its address where none is given.
    variable: ClassVar[str]
    #: Where it is without either; empty where there is no such place.
    default_address: ClassVar[str] = ""
    #: How calls are made where nothing else is given.
    default_policy: ClassVar[CallPolicy] = CallPolicy()

    def __init__(
        self,
        address: str | None = None,
        *,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        certificate_file: str | os.PathLike[str] | None = None,
        key_file: str | os.PathLike[str] | None = None,
        server_name: str | None = None,
        policy: CallPolicy | None = None,
    ) -> None:
        """Get ready to call; whether anybody answers shows with the first call.

        `address` is `http://host:port` or `https://host:port`. The token is given, in `token_file`, or in
        RLAIF_TOKEN_FILE or RLAIF_TOKEN. `ca_file` (RLAIF_CA_FILE) holds the authorities of an https server,
        `certificate_file` and `key_file` our own certificate for a server that asks for one, and
        `server_name` is the name in the server's certificate where it is not the address's.
        """
        self.address = address or os.environ.get(self.variable) or self.default_address
        if not self.address:
            raise ConfigurationError(
                f"where is the {self.kind}? Give its address, such as http://127.0.0.1:7410, or set "
                f"{self.variable}"
            )
        self.policy = policy or self.default_policy
        self._token = _token(token, token_file)
        # The variable is about those services that have TLS; others may be called beside them.
        variable = os.environ.get("RLAIF_CA_FILE") if self.address.startswith("https:") else None
        ca = ca_file or variable or None
        tls = _Tls(ca, certificate_file, key_file, server_name)
        self._channel = _channel(self.address, tls, has_token=self._token is not None)

    def close(self) -> None:
        """End the connection; calls in progress are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, method: UnaryCall[Request, Answer], request: Request) -> Answer:
        """Make a call that may be done twice: an answer can be lost after the work was done.

        It is repeated while the service is away or busy, after the pause that the service asks for or a
        longer one of ours. No attempt begins when the policy's patience or the call's time is over.
        """
        deadline = time.monotonic() + self.policy.timeout
        attempt, failed_at = 1, 0.0
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            try:
                return method(request, timeout=left, metadata=self._metadata(attempt))
            except grpc.RpcError as cause:
                error, now = call_error(cause, self._peer()), time.monotonic()
                failed_at = now if attempt == 1 else failed_at
                pause = self.policy.pause(attempt, error)
                transient = error.code in (ErrorCode.UNAVAILABLE, ErrorCode.BUSY)
                if not transient or now + pause >= min(deadline, failed_at + self.policy.patience):
                    raise error from cause
            time.sleep(pause)
            attempt += 1

    def _stream(
        self,
        open_stream: Callable[[float, Metadata], Stream[Answer]],
        *,
        timeout: float | None = None,
        may_be_quiet: bool = False,
    ) -> Iterator[Answer]:
        """Answers of a stream that is opened again when it is lost.

        `open_stream` asks for what is still to be told. One opening lasts for `timeout` at most (the
        policy's), so that a connection which died unnoticed is noticed; when that time is over the stream
        is opened again if something came or `may_be_quiet`. It is given up when nothing came for the
        policy's patience after it was lost.
        """
        attempt, lost_at = 1, 0.0
        while True:
            opened_at, came = time.monotonic(), False
            call = open_stream(timeout or self.policy.timeout, self._metadata(attempt))
            try:
                for answer in call:
                    attempt, came = 1, True
                    yield answer
                return
            except grpc.RpcError as cause:
                error = call_error(cause, self._peer())
                if error.code is ErrorCode.DEADLINE_EXCEEDED and (came or may_be_quiet):
                    continue
                now = time.monotonic()
                # One that lasted for so long was there, even if it had nothing to tell.
                if came or attempt == 1 or now - opened_at > self.policy.patience:
                    attempt, lost_at = 1, now
                pause = self.policy.pause(attempt, error)
                if not _is_lost(error, cause) or now + pause >= lost_at + self.policy.patience:
                    raise error from cause
            finally:
                call.cancel()
            time.sleep(pause)
            attempt += 1

    def _ask_many(
        self,
        method: StreamCall[Request, Answer],
        questions: Iterable[Asked],
        request: Callable[[str, Asked], Request],
        id_of: Callable[[Answer], str],
    ) -> Iterator[tuple[Asked, Answer]]:
        """Each question with its answer, as they are ready. What a lost stream left open is asked again.

        `questions` are read a stream at a time, so they may be without end.
        """
        source = iter(questions)
        while batch := list(islice(source, _QUESTIONS)):
            unanswered = {str(i): asked for i, asked in enumerate(batch)}

            def open_stream(
                timeout: float, metadata: Metadata, left: dict[str, Asked] = unanswered
            ) -> Stream[Answer]:
                requests = [request(id_, asked) for id_, asked in left.items()]
                return method(iter(requests), timeout=timeout, metadata=metadata)

            for answer in self._stream(open_stream):
                if id_of(answer) not in unanswered:
                    raise AnswerError(f"{self._peer()} answered {id_of(answer)!r}, which was not asked")
                yield unanswered.pop(id_of(answer)), answer
            if unanswered:
                raise AnswerError(
                    f"{self._peer()} left {len(unanswered)} of {len(batch)} questions unanswered"
                )

    def _metadata(self, attempt: int) -> Metadata:
        """Who we are and, as gRPC specifies for retries (A6), the number of attempts before."""
        token = (("authorization", f"Bearer {self._token}"),) if self._token else ()
        again = (("grpc-previous-rpc-attempts", str(attempt - 1)),) if attempt > 1 else ()
        return (*token, *again)

    def _peer(self) -> str:
        return f"the {self.kind} at {self.address}"


def _is_lost(error: CallError, cause: grpc.RpcError) -> bool:
    """Whether a stream broke, or was refused for now. A connection that was cut in two is UNKNOWN."""
    broken = isinstance(cause, grpc.Call) and cause.code() is grpc.StatusCode.UNKNOWN
    return broken or error.code in (ErrorCode.UNAVAILABLE, ErrorCode.BUSY)


@dataclass(frozen=True, slots=True)
class _Tls:
    """Files of TLS, and the name that the server goes by."""

    ca: str | os.PathLike[str] | None
    certificate: str | os.PathLike[str] | None
    key: str | os.PathLike[str] | None
    server_name: str | None

    def is_given(self) -> bool:
        return any((self.ca, self.certificate, self.key, self.server_name))


def _channel(address: str, tls: _Tls, *, has_token: bool) -> grpc.Channel:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"{address!r} is no address like http://host:port: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError(f"{address!r} is no address like http://host:port or https://host:port")
    secure = parts.scheme == "https"
    if not secure and tls.is_given():
        raise ConfigurationError(f"{address} must be https where certificates are given")
    if not secure and has_token and not _is_loopback(host):
        raise ConfigurationError(f"{address} must be https: a token would travel in the clear")
    options: list[tuple[str, str | int]] = [
        # What comes is the server's to bound, and repeating is ours.
        ("grpc.max_receive_message_length", -1),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
        # A name may stand for several instances: calls go to all that are there, in turn.
        ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
        # Repeating a call is of use only where gRPC tries to connect again meanwhile, to a successor that may
        # have another address. Its own pauses grow to two minutes, and it asks the resolver twice a minute.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.dns_min_time_between_resolutions_ms", 1_000),
        # A dead connection is found before a call is, also while nothing is asked.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    target = f"[{host}]" if ":" in host else host
    target = f"{target}:{port or (443 if secure else 80)}"
    if not secure:
        return grpc.insecure_channel(target, options)
    if tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return grpc.secure_channel(target, _credentials(address, tls), options)


def _credentials(address: str, tls: _Tls) -> grpc.ChannelCredentials:
    if tls.ca is None:
        raise ConfigurationError(
            f"{address} needs ca_file or RLAIF_CA_FILE: the authority that issued its certificate; for a "
            "public certificate the system's bundle, such as /etc/ssl/certs/ca-certificates.crt"
        )
    if (tls.certificate is None) != (tls.key is None):
        raise ConfigurationError("certificate_file and key_file are given together or not at all")
    return grpc.ssl_channel_credentials(
        root_certificates=_pem(tls.ca, "CERTIFICATE"),
        private_key=_pem(tls.key, "PRIVATE KEY") if tls.key else None,
        certificate_chain=_pem(tls.certificate, "CERTIFICATE") if tls.certificate else None,
    )


def _pem(path: str | os.PathLike[str], what: str) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {os.fspath(path)}: {error.strerror}") from error
    if f"{what}-----".encode() not in content:
        raise ConfigurationError(f"{os.fspath(path)} holds no {what} section; give a PEM file")
    return content


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token(token: str | None, file: str | os.PathLike[str] | None) -> str | None:
    """The token that was given, in arguments before variables and in files before values."""
    if token is None:
        path = file or os.environ.get("RLAIF_TOKEN_FILE")
        if path:
            try:
                token = Path(path).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"cannot read the token in {os.fspath(path)}: {error}") from error
        else:
            token = os.environ.get("RLAIF_TOKEN", "")
    token = token.strip()
    if not (token.isascii() and token.isprintable()):
        raise ConfigurationError("the token holds characters that cannot be sent; tokens are printable ASCII")
    return token or None

"""What can go wrong, as exceptions that say what, where, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from .jobs import Job


class RlaifError(Exception):
    """Whatever this package raises."""


class ConfigurationError(RlaifError):
    """An address, a token, a certificate or a job that cannot be used as it was given."""


class AnswerError(RlaifError):
    """An answer that lacks what it must say, or says something senseless.

    Client and server are then of different versions, or something between them is broken.
    """


class JobFailedError(RlaifError):
    """A job that was waited for has ended, but not with a report."""

    def __init__(self, job: Job) -> None:
        """Of `job` as it stays."""
        super().__init__(f"job {job.job_id} has {job.state}" + (f": {job.error}" if job.error else ""))
        self.job = job


class ErrorCode(StrEnum):
    """What kind of error a call ended with."""

    #: The request says something senseless; to send it again is pointless.
    INVALID = "invalid"
    #: What the request names is not there.
    NOT_FOUND = "not found"
    #: It is there already, and differs.
    ALREADY_EXISTS = "already exists"
    #: What the request names is in a state that does not allow it.
    WRONG_STATE = "wrong state"
    #: A queue or budget is full; worth another try after `retry_after`.
    BUSY = "busy"
    #: The service starts, stops or cannot be reached; worth another try.
    UNAVAILABLE = "unavailable"
    #: The caller did not say who it is.
    UNAUTHENTICATED = "unauthenticated"
    #: The caller may not do this.
    FORBIDDEN = "forbidden"
    #: No answer in the time that the caller had.
    DEADLINE_EXCEEDED = "deadline exceeded"
    #: The caller left.
    CANCELLED = "cancelled"
    #: The service does not know this call.
    UNIMPLEMENTED = "unimplemented"
    #: A fault of the service.
    INTERNAL = "internal"


# As crates/proto reads them: codes that our services never send come from libraries and proxies.
_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: ErrorCode.INVALID,
    grpc.StatusCode.OUT_OF_RANGE: ErrorCode.INVALID,
    grpc.StatusCode.NOT_FOUND: ErrorCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: ErrorCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION: ErrorCode.WRONG_STATE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ErrorCode.BUSY,
    grpc.StatusCode.UNAVAILABLE: ErrorCode.UNAVAILABLE,
    grpc.StatusCode.ABORTED: ErrorCode.UNAVAILABLE,
    grpc.StatusCode.UNAUTHENTICATED: ErrorCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: ErrorCode.FORBIDDEN,
    grpc.StatusCode.DEADLINE_EXCEEDED: ErrorCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED: ErrorCode.CANCELLED,
    grpc.StatusCode.UNIMPLEMENTED: ErrorCode.UNIMPLEMENTED,
}


@dataclass(frozen=True, slots=True)
class Violation:
    """Something wrong with one field of a request."""

    #: Path of the field, such as `job_toml.rl.batch_size`; empty where it tells how many more there are.
    field: str
    #: What is wrong, and how to mend it.
    what: str

    def __str__(self) -> str:
        return f"{self.field}: {self.what}" if self.field else self.what


class CallError(RlaifError):
    """A call that a service refused, or that did not reach one."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        retry_after: float | None = None,
        violations: tuple[Violation, ...] = (),
    ) -> None:
        """With everything that the service said."""
        super().__init__("\n  ".join([message, *map(str, violations)]))
        self.code = code
        #: The message alone, without the violations.
        self.message = message
        #: Seconds after which the service says that another try is worth it.
        self.retry_after = retry_after
        #: All that is wrong with the request, field by field.
        self.violations = violations


def call_error(error: grpc.RpcError, peer: str) -> CallError:
    """The error of a call to `peer`, which is a name and an address."""
    if not isinstance(error, grpc.Call):  # grpc raises nothing else, but does not promise it.
        return CallError(ErrorCode.INTERNAL, f"{peer}: {error}")
    code = _CODES.get(error.code(), ErrorCode.INTERNAL)
    details = error.details() or "no message"
    retry_after, violations = _standard_details(error)
    return CallError(code, f"{peer}: {details}{_how_to_mend(details)}", retry_after, violations)


def _standard_details(call: grpc.Call) -> tuple[float | None, tuple[Violation, ...]]:
    """RetryInfo and BadRequest, as far as they were sent."""
    retry_after: float | None = None
    violations: list[Violation] = []
    status = status_pb2.Status()
    for name, value in call.trailing_metadata() or ():
        if name == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                status.ParseFromString(value)
            except DecodeError:  # The code and the message are there all the same.
                continue
    for detail in status.details:
        retry, request = error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(retry) and retry.HasField("retry_delay"):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
        elif detail.Unpack(request):
            violations += [Violation(v.field, v.description) for v in request.field_violations]
    return retry_after, tuple(violations)


def _how_to_mend(details: str) -> str:
    """A hint where the library's own message has none."""
    lower = details.lower()
    if "certificate_verify_failed" in lower or "certificate verify failed" in lower:
        return "; ca_file must hold the authority that issued the server's certificate"
    if "hostname verification" in lower or "not found in san" in lower or "peer name" in lower:
        return "; call the server by a name in its certificate, or set server_name to one"
    if "failed to connect" in lower or "connection refused" in lower:
        return "; is it running there?"
    return ""

"""Reading answers: what is missing or senseless is an error that names the path of its field.

A number whose absence matters has presence on the wire; it is never read as 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from .errors import AnswerError
from .wire.v1 import common_pb2

_GRID = float(1 << 41)
E = TypeVar("E")


def present(message: Message, field: str, path: str) -> None:
    """Refuse a message that leaves `field` out."""
    if not message.HasField(field):
        raise AnswerError(f"{path}.{field} is missing from the answer")


def finite(message: Message, field: str, path: str) -> float:
    """A number that must be there and be finite."""
    present(message, field, path)
    value = float(getattr(message, field))
    if not math.isfinite(value):
        raise AnswerError(f"{path}.{field} must be a finite number, not {value}")
    return value


def all_finite(values: Iterable[float], path: str) -> tuple[float, ...]:
    """Numbers that must be finite."""
    numbers = tuple(values)
    for i, value in enumerate(numbers):
        if not math.isfinite(value):
            raise AnswerError(f"{path}[{i}] must be a finite number, not {value}")
    return numbers


def probability_a(label: common_pb2.SoftLabel, path: str) -> float:
    """A soft label bit for bit; one off the labels' grid is refused instead of rounded."""
    value = finite(label, "probability_a", path)
    if not 0.0 <= value <= 1.0 or not (value * _GRID).is_integer():
        raise AnswerError(f"{path}.probability_a is {value!r}, which is no multiple of 2^-41 in [0, 1]")
    return value


def known(value: int, meanings: dict[int, E], path: str) -> E:
    """What the value of an enumeration stands for; one that only a newer server knows is an error."""
    try:
        return meanings[value]
    except KeyError:
        what = (
            f"the unknown value {value}; is this client of the server's version?" if value else "unspecified"
        )
        raise AnswerError(f"{path} is {what}") from None


def moment(message: Message, field: str) -> datetime | None:
    """A moment, where there is one."""
    if not message.HasField(field):
        return None
    timestamp: Timestamp = getattr(message, field)
    return timestamp.ToDatetime(tzinfo=UTC)

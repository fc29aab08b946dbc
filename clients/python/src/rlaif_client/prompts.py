"""What a policy answers, and what is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .errors import ConfigurationError
from .wire.v1 import common_pb2

_ROLES = {
    "system": common_pb2.ROLE_SYSTEM,
    "user": common_pb2.ROLE_USER,
    "assistant": common_pb2.ROLE_ASSISTANT,
}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


#: Text to continue, or a conversation whose next turn is the model's. A turn may also be a mapping with
#: `role` and `content`, as TRL and OpenAI have it.
Prompt: TypeAlias = str | Sequence[Message | Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt and two candidate responses."""

    prompt: Prompt
    response_a: str
    response_b: str

    def to_wire(self) -> common_pb2.Pair:
        """As the labeler reads it."""
        prompt = prompt_to_wire(self.prompt)
        return common_pb2.Pair(prompt=prompt, response_a=self.response_a, response_b=self.response_b)


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt and one response."""

    prompt: Prompt
    response: str

    def to_wire(self) -> common_pb2.Item:
        """As labeler and reward model read it."""
        return common_pb2.Item(prompt=prompt_to_wire(self.prompt), response=self.response)


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """A prompt in the policy's own tokens."""

    ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """A prompt and a response in the reward model's own tokens, end-of-text included where it was drawn."""

    prompt_ids: Sequence[int]
    response_ids: Sequence[int]


def prompt_to_wire(prompt: Prompt) -> common_pb2.Prompt:
    """A prompt as services read it."""
    if isinstance(prompt, str):
        return common_pb2.Prompt(text=prompt)
    turns = [_turn(turn) for turn in prompt]
    return common_pb2.Prompt(conversation=common_pb2.Conversation(messages=turns))


def _turn(turn: Message | Mapping[str, str]) -> common_pb2.Message:
    try:
        role, content = (
            (turn.role, turn.content) if isinstance(turn, Message) else (turn["role"], turn["content"])
        )
        return common_pb2.Message(role=_ROLES[role], content=content)
    except (KeyError, TypeError) as error:
        raise ConfigurationError(
            f"a turn of a conversation has a role (system, user or assistant) and a content, unlike {turn!r}"
        ) from error

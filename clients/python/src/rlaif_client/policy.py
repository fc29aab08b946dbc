"""The current policy: completions from the model that is being trained."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from .connection import Service
from .decode import known, moment
from .errors import AnswerError
from .judgements import Identity
from .prompts import Prompt, TokenPrompt, prompt_to_wire
from .wire.v1 import common_pb2
from .wire.v1 import rollout_pb2 as wire
from .wire.v1.rollout_pb2_grpc import RolloutServiceStub


class Finish(StrEnum):
    """Why a generation ended."""

    #: A stop token was drawn.
    STOP = "stop"
    #: `max_new_tokens`, or the end of the context, was reached.
    LENGTH = "length"


_FINISHES: dict[int, Finish] = {wire.FINISH_STOP: Finish.STOP, wire.FINISH_LENGTH: Finish.LENGTH}


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion."""

    #: The tokens as text, special tokens left out.
    text: str
    #: Drawn tokens, the stop token included where one was drawn.
    tokens: tuple[int, ...]
    #: Log-probability of each token, before top-k and top-p.
    logprobs: tuple[float, ...]
    finish: Finish
    #: The version of the policy that drew it.
    policy_version: int
    #: Length of the prompt, in tokens.
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """The current policy."""

    #: Counts up with every version that the learner published.
    policy_version: int
    model: Identity
    #: Longest sequence, in tokens.
    context_length_tokens: int
    #: When it was swapped in.
    loaded_at: datetime | None


class Policy(Service):
    """A running `rlaif rollout` that has a policy for direct callers (`direct.model` or `direct.job`).

    Its address is given or in RLAIF_ROLLOUT.
    """

    kind = "rollout worker"
    variable = "RLAIF_ROLLOUT"

    def generate(
        self,
        prompt: Prompt | TokenPrompt,
        *,
        max_new_tokens: int,
        temperature: float,
        min_new_tokens: int = 0,
        top_k: int | None = None,
        top_p: float | None = None,
        stop_tokens: Sequence[int] = (),
        seed: int = 0,
    ) -> Completion:
        """One completion; several of a prompt are several calls with different seeds.

        Temperature 0 takes the most likely token. The same seed draws the same completion from the same
        policy, whoever else asks meanwhile.
        """
        request = wire.GenerateRequest(
            sampling=wire.Sampling(
                max_new_tokens=max_new_tokens,
                min_new_tokens=min_new_tokens,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                stop_tokens=stop_tokens,
                seed=seed,
            )
        )
        if isinstance(prompt, TokenPrompt):
            request.tokens.CopyFrom(common_pb2.TokenIds(ids=prompt.ids))
        else:
            request.prompt.CopyFrom(prompt_to_wire(prompt))
        answer = self._ask(self._stub.Generate, request)
        logprobs = _floats(answer.logprobs)
        if len(logprobs) != len(answer.tokens):
            raise AnswerError(f"logprobs has {len(logprobs)} values for {len(answer.tokens)} tokens")
        return Completion(
            text=answer.text,
            tokens=tuple(answer.tokens),
            logprobs=logprobs,
            finish=known(answer.finish, _FINISHES, "finish"),
            policy_version=answer.policy_version,
            prompt_tokens=answer.prompt_tokens,
        )

    def info(self) -> PolicyInfo:
        """Which policy answers now."""
        answer = self._ask(self._stub.GetPolicyInfo, wire.GetPolicyInfoRequest())
        return PolicyInfo(
            policy_version=answer.policy_version,
            model=Identity.from_wire(answer.model),
            context_length_tokens=answer.context_length_tokens,
            loaded_at=moment(answer, "loaded_at"),
        )

    @cached_property
    def _stub(self) -> RolloutServiceStub:
        return RolloutServiceStub(self._channel)


def _floats(tensor: common_pb2.Tensor) -> tuple[float, ...]:
    """The elements of a tensor of f32 in row-major order."""
    if tensor.data_type != common_pb2.DATA_TYPE_F32:
        raise AnswerError(f"logprobs.data_type is {tensor.data_type}, not f32")
    count = math.prod(tensor.shape)
    if len(tensor.data) != 4 * count:
        raise AnswerError(f"logprobs has {len(tensor.data)} bytes, which is not {list(tensor.shape)} of f32")
    return struct.unpack(f"<{count}f", tensor.data)

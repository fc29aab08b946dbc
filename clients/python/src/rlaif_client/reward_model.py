"""The current reward model: how good is a response?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from .connection import Service
from .decode import finite, moment, present
from .errors import AnswerError
from .judgements import Identity, Unscorable
from .prompts import Item, Prompt, TokenSequence
from .wire.v1 import common_pb2
from .wire.v1 import reward_pb2 as wire
from .wire.v1.reward_pb2_grpc import RewardServiceStub


@dataclass(frozen=True, slots=True)
class Score:
    """A reward."""

    #: Normalised: `(raw - mean) / std`.
    reward: float


@dataclass(frozen=True, slots=True)
class ScoreAnswer:
    """How good one response is."""

    #: The reward, or why there is none.
    result: Score | Unscorable
    #: The version of the reward model that gave it.
    model_version: int

    @classmethod
    def from_wire(cls, answer: wire.ScoreAnswer) -> ScoreAnswer:
        """Read one."""
        result: Score | Unscorable
        match answer.WhichOneof("result"):
            case "score":
                result = Score(finite(answer.score, "reward", "score"))
            case "unscorable":
                result = Unscorable.from_wire(answer.unscorable)
            case _:
                raise AnswerError("the answer has neither a score nor why there is none")
        return cls(result, answer.model_version)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """`reward = (raw - mean) / std`, of the raw outputs on the training responses."""

    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class RewardModelInfo:
    """The current reward model."""

    #: Counts up with every model that was swapped in.
    model_version: int
    model: Identity
    normalisation: Normalisation
    #: Longest sequence, in tokens.
    context_length_tokens: int
    #: When it was swapped in.
    loaded_at: datetime | None


class RewardModel(Service):
    """A running `rlaif reward` that has a model for direct callers (`direct.model` or `direct.job`).

    Its address is given or in RLAIF_REWARD.
    """

    kind = "reward worker"
    variable = "RLAIF_REWARD"

    def score(self, prompt: Prompt, response: str) -> ScoreAnswer:
        """How good one response is."""
        return self.score_batch([Item(prompt, response)])[0]

    def score_batch(self, questions: Sequence[Item | TokenSequence]) -> list[ScoreAnswer]:
        """How good several responses are, in one call and in their order."""
        request = wire.ScoreRequest(questions=[_question("", question) for question in questions])
        answers = self._ask(self._stub.Score, request).answers
        if len(answers) != len(questions):
            raise AnswerError(f"{self._peer()} gave {len(answers)} answers to {len(questions)} questions")
        return [ScoreAnswer.from_wire(answer) for answer in answers]

    def score_many(
        self, questions: Iterable[Item | TokenSequence]
    ) -> Iterator[tuple[Item | TokenSequence, ScoreAnswer]]:
        """Each question with its score, in the order in which they are ready."""
        answers = self._ask_many(
            self._stub.ScoreStream,
            questions,
            lambda id_, question: wire.ScoreStreamRequest(question=_question(id_, question)),
            lambda answer: answer.answer.id,
        )
        return ((question, ScoreAnswer.from_wire(answer.answer)) for question, answer in answers)

    def info(self) -> RewardModelInfo:
        """Which model scores now, and how its outputs become rewards."""
        answer = self._ask(self._stub.GetModelInfo, wire.GetModelInfoRequest())
        present(answer, "normalisation", "model_info")
        mean, std = (finite(answer.normalisation, name, "normalisation") for name in ("mean", "std"))
        return RewardModelInfo(
            model_version=answer.model_version,
            model=Identity.from_wire(answer.model),
            normalisation=Normalisation(mean, std),
            context_length_tokens=answer.context_length_tokens,
            loaded_at=moment(answer, "loaded_at"),
        )

    @cached_property
    def _stub(self) -> RewardServiceStub:
        return RewardServiceStub(self._channel)


def _question(id_: str, question: Item | TokenSequence) -> wire.ScoreQuestion:
    if isinstance(question, Item):
        return wire.ScoreQuestion(id=id_, item=question.to_wire())
    tokens = wire.TokenSequence(
        prompt=common_pb2.TokenIds(ids=question.prompt_ids),
        response=common_pb2.TokenIds(ids=question.response_ids),
    )
    return wire.ScoreQuestion(id=id_, tokens=tokens)

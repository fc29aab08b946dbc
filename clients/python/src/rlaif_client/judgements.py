"""Judgements, and how they are asked for.

A judgement is a value or `Unscorable`. Both are answers, and nothing here turns a failed one into a number:
look which it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .decode import all_finite, finite, known, present, probability_a
from .errors import AnswerError
from .wire.v1 import common_pb2, labeler_pb2


class UnscorableReason(StrEnum):
    """Why a judgement has no value."""

    #: The rendered prompt does not fit the labeler's context.
    PROMPT_TOO_LONG = "prompt too long"
    #: Verdict tokens got no usable log-probability.
    NO_VERDICT = "no verdict"
    #: The item itself cannot be judged, for example an empty response.
    BAD_ITEM = "bad item"
    #: The engine failed on this item, and would again.
    ENGINE_FAILED = "engine failed"
    #: The engine gave no answer this time. It may another time.
    ENGINE_UNAVAILABLE = "engine unavailable"
    #: The endpoint behind the labeler refuses whatever it is asked.
    ENGINE_REFUSED = "engine refused"


_REASONS: dict[int, UnscorableReason] = {
    common_pb2.UNSCORABLE_REASON_PROMPT_TOO_LONG: UnscorableReason.PROMPT_TOO_LONG,
    common_pb2.UNSCORABLE_REASON_NO_VERDICT: UnscorableReason.NO_VERDICT,
    common_pb2.UNSCORABLE_REASON_BAD_ITEM: UnscorableReason.BAD_ITEM,
    common_pb2.UNSCORABLE_REASON_ENGINE_FAILED: UnscorableReason.ENGINE_FAILED,
    common_pb2.UNSCORABLE_REASON_ENGINE_UNAVAILABLE: UnscorableReason.ENGINE_UNAVAILABLE,
    common_pb2.UNSCORABLE_REASON_ENGINE_REFUSED: UnscorableReason.ENGINE_REFUSED,
}


@dataclass(frozen=True, slots=True)
class Unscorable:
    """A judgement that failed: mask it, never put a number in its place."""

    reason: UnscorableReason
    #: What happened, for a person.
    detail: str

    @classmethod
    def from_wire(cls, wire: common_pb2.Unscorable) -> Unscorable:
        """Read one."""
        return cls(known(wire.reason, _REASONS, "unscorable.reason"), wire.detail)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which model or template it was."""

    name: str
    #: SHA-256 in lower-case hex: of weights, configuration, tokenizer and chat template, or of what a
    #: template asks.
    hash: str

    @classmethod
    def from_wire(cls, wire: common_pb2.ModelIdentity | common_pb2.TemplateIdentity) -> Identity:
        """Read one."""
        return cls(wire.name, wire.hash)


@dataclass(frozen=True, slots=True)
class Rationale:
    """What was said before a verdict, and the verdict after it."""

    text: str
    #: Log-probabilities of the verdicts in the template's order.
    verdict_logprobs: tuple[float, ...]
    #: Of a comparison: what this rationale alone comes to, with the response shown first as A.
    prefers_first: float | None

    @classmethod
    def from_wire(cls, wire: labeler_pb2.Rationale, path: str) -> Rationale:
        """Read one."""
        prefers_first = None
        if wire.HasField("prefers_first"):
            prefers_first = probability_a(wire.prefers_first, f"{path}.prefers_first")
        return cls(wire.text, all_finite(wire.verdict_logprobs, f"{path}.verdict_logprobs"), prefers_first)


@dataclass(frozen=True, slots=True)
class OrderScores:
    """The verdict in one order of presentation."""

    #: Log-probability of the first verdict, as the model gave it.
    first_logprob: float
    #: Log-probability of the second verdict, as the model gave it.
    second_logprob: float
    #: Preference with the response shown first as A, the template's polarity applied.
    prefers_first: float
    #: Tokens read.
    prompt_tokens: int
    #: Tokens written: those of the rationales.
    completion_tokens: int
    rationales: tuple[Rationale, ...]

    @classmethod
    def from_wire(cls, wire: labeler_pb2.OrderScores, path: str) -> OrderScores:
        """Read one."""
        present(wire, "prefers_first", path)
        rationales = enumerate(wire.rationales)
        return cls(
            first_logprob=finite(wire, "first_logprob", path),
            second_logprob=finite(wire, "second_logprob", path),
            prefers_first=probability_a(wire.prefers_first, f"{path}.prefers_first"),
            prompt_tokens=wire.prompt_tokens,
            completion_tokens=wire.completion_tokens,
            rationales=tuple(Rationale.from_wire(r, f"{path}.rationales[{i}]") for i, r in rationales),
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """A label and what it was made from."""

    #: Probability that A is preferred, by both orders. Exchanging the candidates gives exactly one minus it.
    probability_a: float
    #: A shown first.
    ab: OrderScores
    #: B shown first.
    ba: OrderScores

    @classmethod
    def from_wire(cls, wire: labeler_pb2.Comparison) -> Comparison:
        """Read one."""
        for field in ("label", "ab", "ba"):
            present(wire, field, "comparison")
        label = probability_a(wire.label, "comparison.label")
        ab, ba = (OrderScores.from_wire(o, f"comparison.{n}") for n, o in (("ab", wire.ab), ("ba", wire.ba)))
        return cls(label, ab, ba)


@dataclass(frozen=True, slots=True)
class ComparisonAnswer:
    """Which of two responses is better, and who says so."""

    #: The label, or why there is none.
    result: Comparison | Unscorable
    #: Hash of the question asked (pair, template, model): the same question has the same label id.
    label_id: str
    template: Identity
    model: Identity

    @classmethod
    def from_wire(cls, wire: labeler_pb2.ComparisonAnswer) -> ComparisonAnswer:
        """Read one."""
        result: Comparison | Unscorable
        match wire.WhichOneof("result"):
            case "comparison":
                result = Comparison.from_wire(wire.comparison)
            case "unscorable":
                result = Unscorable.from_wire(wire.unscorable)
            case _:
                raise AnswerError("the answer has neither a comparison nor why there is none")
        template, model = Identity.from_wire(wire.template), Identity.from_wire(wire.model)
        return cls(result, wire.label_id, template, model)


@dataclass(frozen=True, slots=True)
class Answered:
    """The verdicts of one question."""

    #: Log-probabilities of the verdicts in the template's order; good, bad in a rubric.
    verdict_logprobs: tuple[float, ...]
    #: Softmax over the verdicts alone.
    distribution: tuple[float, ...]
    #: Tokens read.
    prompt_tokens: int
    #: Tokens written: those of the rationales.
    completion_tokens: int
    rationales: tuple[Rationale, ...]

    @classmethod
    def from_wire(cls, wire: labeler_pb2.Answered, path: str) -> Answered:
        """Read one."""
        if len(wire.verdict_logprobs) != len(wire.distribution):
            verdicts, values = len(wire.verdict_logprobs), len(wire.distribution)
            raise AnswerError(f"{path}.distribution has {values} values for {verdicts} verdicts")
        rationales = enumerate(wire.rationales)
        return cls(
            verdict_logprobs=all_finite(wire.verdict_logprobs, f"{path}.verdict_logprobs"),
            distribution=all_finite(wire.distribution, f"{path}.distribution"),
            prompt_tokens=wire.prompt_tokens,
            completion_tokens=wire.completion_tokens,
            rationales=tuple(Rationale.from_wire(r, f"{path}.rationales[{i}]") for i, r in rationales),
        )


@dataclass(frozen=True, slots=True)
class Rating:
    """A rating and what it was made from."""

    #: In [-1, 1].
    reward: float
    #: Expected score: in [1, 10] on the scale, in [0, 1] by a rubric.
    score: float
    #: One on the scale, one for each question of a rubric.
    answers: tuple[Answered, ...]

    @classmethod
    def from_wire(cls, wire: labeler_pb2.Rating) -> Rating:
        """Read one."""
        answers = enumerate(wire.answers)
        return cls(
            reward=finite(wire, "reward", "rating"),
            score=finite(wire, "score", "rating"),
            answers=tuple(Answered.from_wire(a, f"rating.answers[{i}]") for i, a in answers),
        )


@dataclass(frozen=True, slots=True)
class RatingAnswer:
    """How good one response is, and who says so."""

    #: The rating, or why there is none.
    result: Rating | Unscorable
    template: Identity
    model: Identity

    @classmethod
    def from_wire(cls, wire: labeler_pb2.RatingAnswer) -> RatingAnswer:
        """Read one."""
        result: Rating | Unscorable
        match wire.WhichOneof("result"):
            case "rating":
                result = Rating.from_wire(wire.rating)
            case "unscorable":
                result = Unscorable.from_wire(wire.unscorable)
            case _:
                raise AnswerError("the answer has neither a rating nor why there is none")
        return cls(result, Identity.from_wire(wire.template), Identity.from_wire(wire.model))


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A rationale before the verdict. What is 0 is as the labeler's default, but for the temperature."""

    #: Longest rationale, in tokens.
    max_tokens: int = 0
    #: Rationales over which the verdict's distribution is averaged.
    samples: int = 0
    #: 0 takes the most likely token.
    temperature: float = 0.0
    #: Draw from the k most likely tokens only.
    top_k: int = 0
    #: Moves each order's probability into [clamp, 1 - clamp].
    clamp: float | None = None

    def to_wire(self) -> labeler_pb2.Reasoning:
        """As the labeler reads it."""
        return labeler_pb2.Reasoning(
            max_tokens=self.max_tokens,
            samples=self.samples,
            temperature=self.temperature,
            top_k=self.top_k,
            clamp=self.clamp,
        )


@dataclass(frozen=True, slots=True)
class Asking:
    """How a template is asked."""

    #: Exemplars shown before the sample.
    shots: int = 0
    #: Draw the exemplars anew for every question, instead of the template's first ones.
    random_exemplars: bool = False
    #: Show the exemplars' rationales.
    exemplar_rationales: bool = False
    #: Ask for a rationale before the verdict.
    reasoning: Reasoning | None = None
    #: Verdicts with less probability than this together are unscorable.
    min_verdict_mass: float = 0.0
    #: Seed of what is drawn.
    seed: int = 0

    def to_wire(self) -> labeler_pb2.Asking:
        """As the labeler reads it."""
        return labeler_pb2.Asking(
            shots=self.shots,
            random_exemplars=self.random_exemplars,
            exemplar_rationales=self.exemplar_rationales,
            reasoning=self.reasoning.to_wire() if self.reasoning else None,
            min_verdict_mass=self.min_verdict_mass,
            seed=self.seed,
        )

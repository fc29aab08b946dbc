"""A labeler for direct callers: which of two responses is better, and how good is one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

from .connection import Service
from .decode import present
from .judgements import Asking, ComparisonAnswer, RatingAnswer
from .prompts import Item, Pair, Prompt
from .wire.v1 import labeler_pb2 as wire
from .wire.v1.labeler_pb2_grpc import LabelServiceStub


class Labeler(Service):
    """A running `rlaif labeler` that has a model for direct callers (`direct.model`).

    Its address is given or in RLAIF_LABELER. Templates are the built-in ones; `rlaif templates list` shows
    them. `asking` says how one is asked; without it for the verdict straight away.
    """

    kind = "labeler"
    variable = "RLAIF_LABELER"

    def label(
        self,
        prompt: Prompt,
        response_a: str,
        response_b: str,
        *,
        template: str,
        asking: Asking | None = None,
    ) -> ComparisonAnswer:
        """Which response is better, by a template for comparisons."""
        question = _comparison("", Pair(prompt, response_a, response_b), template, asking)
        answer = self._ask(self._stub.Compare, wire.CompareRequest(question=question))
        return _compared(answer)

    def label_many(
        self, pairs: Iterable[Pair], *, template: str, asking: Asking | None = None
    ) -> Iterator[tuple[Pair, ComparisonAnswer]]:
        """Each pair with its label, in the order in which they are ready."""
        answers = self._ask_many(
            self._stub.CompareStream,
            pairs,
            lambda id_, pair: wire.CompareStreamRequest(question=_comparison(id_, pair, template, asking)),
            lambda answer: answer.answer.id,
        )
        return ((pair, _compared(answer)) for pair, answer in answers)

    def rate(
        self, prompt: Prompt, response: str, *, template: str, asking: Asking | None = None
    ) -> RatingAnswer:
        """How good a response is, by a template for ratings or a rubric."""
        question = _rating("", Item(prompt, response), template, asking)
        return _rated(self._ask(self._stub.Rate, wire.RateRequest(question=question)))

    def rate_many(
        self, items: Iterable[Item], *, template: str, asking: Asking | None = None
    ) -> Iterator[tuple[Item, RatingAnswer]]:
        """Each item with its rating, in the order in which they are ready."""
        answers = self._ask_many(
            self._stub.RateStream,
            items,
            lambda id_, item: wire.RateStreamRequest(question=_rating(id_, item, template, asking)),
            lambda answer: answer.answer.id,
        )
        return ((item, _rated(answer)) for item, answer in answers)

    @cached_property
    def _stub(self) -> LabelServiceStub:
        return LabelServiceStub(self._channel)


def _comparison(id_: str, pair: Pair, template: str, asking: Asking | None) -> wire.ComparisonQuestion:
    how = asking.to_wire() if asking else None
    return wire.ComparisonQuestion(id=id_, template=template, pair=pair.to_wire(), asking=how)


def _rating(id_: str, item: Item, template: str, asking: Asking | None) -> wire.RatingQuestion:
    how = asking.to_wire() if asking else None
    return wire.RatingQuestion(id=id_, template=template, item=item.to_wire(), asking=how)


def _compared(response: wire.CompareResponse | wire.CompareStreamResponse) -> ComparisonAnswer:
    present(response, "answer", "response")
    return ComparisonAnswer.from_wire(response.answer)


def _rated(response: wire.RateResponse | wire.RateStreamResponse) -> RatingAnswer:
    present(response, "answer", "response")
    return RatingAnswer.from_wire(response.answer)

"""A labeler for direct callers: what it says is what `rlaif label` says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest
from harness import TINY, Cluster

from rlaif_client import (
    Asking,
    CallError,
    Comparison,
    ErrorCode,
    Item,
    Labeler,
    Message,
    Pair,
    Rating,
    Reasoning,
    Unscorable,
    UnscorableReason,
)

TEMPLATE = "sentiment/compare"


@pytest.fixture(scope="module")
def labeler(labeler_address: str) -> Iterator[Labeler]:
    with Labeler(labeler_address) as labeler:
        yield labeler


def label(labeler: Labeler, a: str, b: str) -> Comparison:
    result = labeler.label("Say something.", a, b, template=TEMPLATE).result
    assert isinstance(result, Comparison), result
    return result


def test_a_label_is_the_commands_bit_for_bit_and_exchanges_exactly(
    labeler: Labeler, cluster: Cluster
) -> None:
    a, b = "A fine day.", "naïve 🚀"
    pair = json.dumps({"prompt": "Say something.", "response_a": a, "response_b": b})
    command = ("label", "--model", str(TINY), "--template", TEMPLATE)
    expected = json.loads(cluster.run(*command, stdin=pair))

    answer = labeler.label("Say something.", a, b, template=TEMPLATE)
    assert isinstance(answer.result, Comparison)
    assert answer.result.probability_a == expected["soft_label"]
    assert (answer.label_id, answer.model.hash) == (expected["label_id"], expected["model_hash"])
    assert answer.template.hash == expected["template_hash"]
    assert answer.result.probability_a == 1 - label(labeler, b, a).probability_a


def test_many_pairs_are_answered_each_once_and_as_alone(labeler: Labeler) -> None:
    # More than one stream has.
    pairs = [Pair(f"Say {i}.", f"It is {i}.", "No.") for i in range(150)]
    answers = list(labeler.label_many(iter(pairs), template=TEMPLATE))
    assert sorted(pairs.index(pair) for pair, _ in answers) == list(range(150))
    pair, answer = answers[7]
    alone = labeler.label(pair.prompt, pair.response_a, pair.response_b, template=TEMPLATE)
    assert isinstance(answer.result, Comparison)
    assert isinstance(alone.result, Comparison)
    # Sums in a batch are taken in another order.
    assert answer.result.probability_a == pytest.approx(alone.result.probability_a, abs=1e-4)


def test_what_cannot_be_judged_is_an_answer_with_its_reason(labeler: Labeler) -> None:
    pairs = [Pair("Hi", "", "good"), Pair("Hi", "bad", "long " * 600), Pair("Hi", "fine", "good")]
    results = {
        pair.response_a: answer.result for pair, answer in labeler.label_many(pairs, template=TEMPLATE)
    }
    reasons = {a: result.reason for a, result in results.items() if isinstance(result, Unscorable)}
    assert reasons == {"": UnscorableReason.BAD_ITEM, "bad": UnscorableReason.PROMPT_TOO_LONG}
    assert isinstance(results["fine"], Comparison)


def test_a_conversation_and_a_rationale_travel_whole(labeler: Labeler) -> None:
    chat: list[Message | Mapping[str, str]] = [
        Message("system", "Be short."),
        {"role": "user", "content": "Hello?"},
    ]
    asking = Asking(reasoning=Reasoning(max_tokens=8, samples=2, temperature=0.9), seed=3)
    answer = labeler.label(chat, "Hi.", "Go away.", template="helpful/base", asking=asking)
    assert isinstance(answer.result, Comparison), answer
    assert len(answer.result.ab.rationales) == 2
    assert answer.result.ab.completion_tokens > 0


def test_ratings_come_by_a_scale_and_by_a_rubric(labeler: Labeler) -> None:
    rated = labeler.rate("Say something.", "Hello.", template="helpful/rating").result
    assert isinstance(rated, Rating)
    assert 1 <= rated.score <= 10
    assert len(rated.answers[0].distribution) == 10
    items = [Item("Say something.", text) for text in ("Hello.", "Yes.")]
    for item, answer in labeler.rate_many(items, template="sentiment/rubric"):
        assert item in items
        assert isinstance(answer.result, Rating)
        assert -1 <= answer.result.reward <= 1


def test_a_template_that_is_not_built_in_is_refused_with_its_field(labeler: Labeler) -> None:
    with pytest.raises(CallError, match="no built-in template") as refused:
        labeler.label("Hi", "a", "b", template="/etc/passwd")
    assert refused.value.code is ErrorCode.INVALID
    assert [violation.field for violation in refused.value.violations] == ["question.template"]
    with pytest.raises(CallError, match="helpful/rating is for"):
        list(labeler.label_many([Pair("Hi", "a", "b")], template="helpful/rating"))

"""Scores of a reward model that a job has trained."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness import Cluster

from rlaif_client import Item, RewardModel, Score, ScoreAnswer, TokenSequence, Unscorable, UnscorableReason

# A score alone and in a batch differ by how sums are taken in f32.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def reward_model(cluster: Cluster, finished_job: str) -> Iterator[RewardModel]:
    with RewardModel(cluster.start_worker("reward", job=finished_job)) as reward_model:
        yield reward_model


def reward(answer: ScoreAnswer) -> float:
    assert isinstance(answer.result, Score), answer
    return answer.result.reward


def test_a_score_is_the_same_alone_in_a_batch_and_in_a_stream(reward_model: RewardModel) -> None:
    items = [Item("Say something.", text) for text in ("Yes.", "A longer answer.", "naïve 🚀")]
    batch = reward_model.score_batch(items)
    streamed = dict(reward_model.score_many(items))
    for item, answer in zip(items, batch, strict=True):
        alone = reward_model.score(item.prompt, item.response)
        assert reward(answer) == pytest.approx(reward(alone), abs=TOLERANCE)
        assert reward(streamed[item]) == pytest.approx(reward(alone), abs=TOLERANCE)
    assert len({reward(answer) for answer in batch}) == 3, "it has learnt something"


def test_tokens_are_scored_and_those_it_cannot_read_have_a_reason(reward_model: RewardModel) -> None:
    good, bad = reward_model.score_batch([TokenSequence([5], [7, 8]), TokenSequence([5], [1_000_000])])
    assert isinstance(good.result, Score)
    assert isinstance(bad.result, Unscorable)
    assert bad.result.reason is UnscorableReason.BAD_ITEM


def test_it_says_which_model_it_is_and_how_its_rewards_are_scaled(reward_model: RewardModel) -> None:
    info = reward_model.info()
    assert info.model_version == reward_model.score("Hi", "Ho").model_version
    assert info.normalisation.std > 0
    assert info.loaded_at is not None

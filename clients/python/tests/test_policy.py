"""Completions from a policy for direct callers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rlaif_client import CallError, ErrorCode, Finish, Policy, TokenPrompt


@pytest.fixture(scope="module")
def policy(policy_address: str) -> Iterator[Policy]:
    with Policy(policy_address) as policy:
        yield policy


def test_the_same_seed_draws_the_same_and_every_token_has_its_logprob(policy: Policy) -> None:
    drawn = policy.generate("Once", max_new_tokens=8, temperature=1.0, seed=3)
    assert drawn == policy.generate("Once", max_new_tokens=8, temperature=1.0, seed=3)
    assert drawn.tokens != policy.generate("Once", max_new_tokens=8, temperature=1.0, seed=4).tokens
    assert len(drawn.logprobs) == len(drawn.tokens)
    assert all(logprob <= 0 for logprob in drawn.logprobs)
    assert drawn.finish is Finish.LENGTH or len(drawn.tokens) <= 8


def test_a_prompt_may_be_tokens(policy: Policy) -> None:
    drawn = policy.generate(TokenPrompt([5, 6, 7]), max_new_tokens=4, temperature=0.0, top_k=5, top_p=0.9)
    assert drawn.prompt_tokens == 3


def test_what_the_policy_cannot_do_is_refused_with_its_field(policy: Policy) -> None:
    with pytest.raises(CallError) as refused:
        policy.generate("Once", max_new_tokens=0, temperature=1.0)
    assert refused.value.code is ErrorCode.INVALID
    assert refused.value.violations[0].field == "sampling.max_new_tokens"


def test_it_says_which_policy_it_is(policy: Policy) -> None:
    info = policy.info()
    assert info.policy_version == 0, "no job has trained it"
    assert info.context_length_tokens > 0
    assert len(info.model.hash) == 64

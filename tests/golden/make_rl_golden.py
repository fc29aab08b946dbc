#!/usr/bin/env python3
"""Makes rl.json, the golden values that crates/rl/tests/golden.rs holds our training against.

  make_rl_golden.py

Needs: pip install torch==2.13.0 transformers==5.24.0 trl==1.16.0, which made the file that is kept;
`made_by` in it names them. Losses are written out in plain PyTorch from their papers' formulas, and
TRL's own GRPO, RLOO, DPO and SLiC losses are asked too and must agree. The reward model's loss on
certain labels, with and without margins and centering, is TRL's own, on the classifier of transformers.
Adafactor is that of transformers. Everything is f32 on the CPU, whose kind is felt in the last digits: made on
another, the file differs from the one that is kept by up to 4e-5 of a value. Values that are kept stay as they are
when cases are added.

The start is tiny-llama. Policy and value network are moved away from it by a sine of each weight's
place, which the Rust test repeats. Of a gradient, the file holds its norm and its product with such
a sine, by parameter.
"""
import copy
import json
import math
import pathlib
from collections import defaultdict
from types import SimpleNamespace as Plain

import torch
import torch.nn.functional as F
import transformers
import trl
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.optimization import Adafactor
from trl import DPOTrainer, GRPOTrainer, RewardTrainer, RLOOTrainer
from trl.trainer.reward_trainer import DataCollatorForPreference

# What a classifier finds missing in a language model is put in after it is loaded.
transformers.logging.set_verbosity_error()

HERE = pathlib.Path(__file__).parent
TEMPERATURE = 0.7
GROUP = 4
CONTEXTS = [[10, 20, 30], [40, 50]]
LENGTHS = [2, 5, 3, 4, 3, 1, 6, 2]
REWARDS = [0.5, -1.0, 2.0, 0.25, 1.5, 0.0, -0.5, 1.0]
LABELS = [1.0, 0.0, 0.75, 0.5]
# Who is better, and by how much, where somebody is certain.
CERTAIN = [("a", 1.0), ("b", 3.0), ("a", 0.0), ("b", 0.5)]
# A token that no response has.
PADDING = 303
# Learning rates of PPO's second epoch; the value network's moves some values by more than their clip.
PPO_RATES = {"policy": 1e-3, "value": 7e-3}


def start():
    # Eager attention: the formulas as they are written.
    folder = HERE / "tiny-llama"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def wave(count, phase):
    places = torch.arange(count, dtype=torch.float64)
    return torch.sin(places * 0.7 + phase)


@torch.no_grad()
def move(parameters, amplitude):
    """Adds a sine of its place to every weight."""
    for name, p in parameters:
        p += (amplitude * wave(p.numel(), len(name))).to(torch.float32).reshape(p.shape)


class Value(torch.nn.Module):
    """A transformer with one number per token."""

    def __init__(self):
        super().__init__()
        model = start()
        self.model = model.model
        self.score = torch.nn.Linear(model.config.hidden_size, 1, bias=False)
        torch.nn.init.zeros_(self.score.weight)

    def forward(self, tokens):
        return self.score(self.model(torch.tensor([tokens])).last_hidden_state)[0, :, 0]


def logprobs(model, episode, temperature=TEMPERATURE):
    prompt, response = episode["prompt"], episode["response"]
    logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1:-1] / temperature
    return logits.log_softmax(-1).gather(1, torch.tensor(response)[:, None])[:, 0]


def values(model, episode):
    prompt, response = episode["prompt"], episode["response"]
    return model(prompt + response)[len(prompt) - 1:-1]


def shadow(tensors):
    """What is kept of gradients or weights."""
    kept = {}
    for name, t in tensors:
        flat = t.detach().double().flatten()
        kept[name] = [(flat * wave(flat.numel(), 1.0)).sum().item(), flat.norm().item()]
    return kept


def gradients(loss, model):
    model.zero_grad()
    loss.backward()
    return shadow((name, p.grad) for name, p in model.named_parameters() if p.grad is not None)


def make_episodes(policy):
    episodes, n = [], 0
    for i, length in enumerate(LENGTHS):
        response = [(37 * i + 11 * t * t + 5) % 300 for t in range(length)]
        episode = {"prompt": CONTEXTS[i // GROUP], "response": response, "reward": REWARDS[i],
                   "off_policy_steps": i % 2}
        noise = []
        for _ in range(length):
            n += 1
            noise.append(0.35 * math.sin(5.0 * n))
        with torch.no_grad():
            drawn = logprobs(policy, episode) + torch.tensor(noise)
        episode["logprobs"] = drawn.tolist()
        episodes.append(episode)
    return episodes


class Batch:
    """Everything that the losses are made of, by episode."""

    def __init__(self, episodes, policy, reference):
        self.episodes = episodes
        self.now = [logprobs(policy, e) for e in episodes]
        with torch.no_grad():
            self.reference = [logprobs(reference, e) for e in episodes]
        self.drawn = [torch.tensor(e["logprobs"]) for e in episodes]
        self.rewards = torch.tensor([e["reward"] for e in episodes])
        self.count = len(episodes)

    def kl(self):
        return sum((d - r).sum() for d, r in zip(self.drawn, self.reference)) / self.count

    def weights(self, cap):
        """Truncated importance weights; 1 on-policy."""
        return [torch.exp(n.detach() - d).clamp(max=cap) if e["off_policy_steps"] else torch.ones_like(d)
                for n, d, e in zip(self.now, self.drawn, self.episodes)]


def penalty(d, estimator):
    return {"k1": d, "k2": d ** 2 / 2, "k3": torch.exp(-d) - 1 + d}[estimator]


def reinforce(batch, policy, value, beta, placement, estimator, cap, centered=False):
    v = [values(value, e) for e in batch.episodes]
    returns = [torch.full_like(d, (1 - beta) * r) for d, r in zip(batch.drawn, batch.rewards)]
    if placement == "reward":
        paid = [beta * penalty(d - r, estimator) for d, r in zip(batch.drawn, batch.reference)]
        returns = [z - p.flip(0).cumsum(0).flip(0) for z, p in zip(returns, paid)]
    errors = [z - v_i.detach() for z, v_i in zip(returns, v)]
    # The baseline learns, and is measured by, what is not centered.
    mean = torch.cat(errors).mean() if centered else 0.0
    loss, value_loss = 0.0, 0.0
    for i, w in enumerate(batch.weights(cap)):
        loss = loss - (w * (errors[i] - mean) * batch.now[i]).sum() / batch.count
        if placement == "loss":
            term = penalty(batch.now[i] - batch.reference[i], estimator)
            loss = loss + beta * (w * term).sum() / batch.count
        value_loss = value_loss + ((returns[i] - v[i]) ** 2).sum() / batch.count
    return {"metrics": {"loss": loss.item(), "objective/kl": batch.kl().item(),
                        "value_loss": (torch.cat(errors) ** 2).mean().item()},
            "policy": gradients(loss, policy), "value": gradients(value_loss, value)}


def rloo(batch, policy, beta, cap):
    returns = torch.stack([batch.rewards[i] - beta * (batch.drawn[i] - batch.reference[i]).sum()
                           for i in range(batch.count)]).view(-1, GROUP)
    advantages = (returns - (returns.sum(1, keepdim=True) - returns) / (GROUP - 1)).flatten()
    loss = -sum((w * n).sum() * a for w, n, a in zip(batch.weights(cap), batch.now, advantages)) / batch.count
    return {"metrics": {"loss": loss.item(), "objective/kl": batch.kl().item()},
            "policy": gradients(loss, policy)}, advantages


def grpo(batch, policy, beta, low, high, scaled, by_token):
    groups = batch.rewards.view(-1, GROUP)
    advantages = groups - groups.mean(1, keepdim=True)
    if scaled:
        advantages = advantages / (groups.std(1, keepdim=True) + 1e-4)
    advantages = advantages.flatten()
    total, loss, clipped = sum(LENGTHS), 0.0, 0
    for i in range(batch.count):
        ratio = torch.exp(batch.now[i] - batch.drawn[i])
        a = advantages[i]
        per_token = -torch.min(ratio * a, ratio.clamp(1 - low, 1 + high) * a)
        per_token = per_token + beta * penalty(batch.now[i] - batch.reference[i], "k3")
        loss = loss + (per_token.sum() / total if by_token else per_token.mean() / batch.count)
        clipped += (((a > 0) & (ratio > 1 + high)) | ((a < 0) & (ratio < 1 - low))).sum().item()
    approx = torch.cat([torch.exp(n - d) - 1 - (n - d) for n, d in zip(batch.now, batch.drawn)]).mean()
    return {"metrics": {"loss": loss.item(), "clip_ratio/region_mean": clipped / total, "objective/kl": batch.kl().item(),
                        "approx_kl": approx.item()},
            "policy": gradients(loss, policy)}, advantages


def ppo(batch, policy, value, beta, clip, value_clip, lam, rates=None, whitened=True):
    """One epoch; where there are learning rates a second one after it, of the moved policy and value network."""
    old = [values(value, e).detach() for e in batch.episodes]
    advantages, returns = [], []
    for i in range(batch.count):
        rewards = -beta * (batch.drawn[i] - batch.reference[i])
        rewards[-1] = rewards[-1] + batch.rewards[i]
        advantage, last = torch.zeros_like(old[i]), 0.0
        for t in reversed(range(len(old[i]))):
            after = old[i][t + 1] if t + 1 < len(old[i]) else 0.0
            last = rewards[t] + after - old[i][t] + lam * last
            advantage[t] = last
        advantages.append(advantage)
        returns.append(advantage + old[i])
    a, r, old, drawn = [torch.cat(rows) for rows in (advantages, returns, old, batch.drawn)]
    if whitened:
        a = (a - a.mean()) / a.std(unbiased=False)

    def epoch(policy, value):
        now = torch.cat([logprobs(policy, e) for e in batch.episodes])
        ratio = torch.exp(now - drawn)
        loss = -torch.min(ratio * a, ratio.clamp(1 - clip, 1 + clip) * a).mean()
        assert (((ratio - 1).abs() - clip).abs() > 1e-4).all(), "rounding may decide what is clipped"
        clipped = ((a > 0) & (ratio > 1 + clip)) | ((a < 0) & (ratio < 1 - clip))
        v = torch.cat([values(value, e) for e in batch.episodes])
        # Nothing has moved from the old values in the first epoch.
        moved = v - old
        near = old + moved.clamp(-value_clip, value_clip)
        value_loss = 0.5 * torch.max((r - v) ** 2, (r - near) ** 2).mean()
        held = (moved.abs() > value_clip) & ((r - near) ** 2 > (r - v) ** 2)
        return loss, clipped.double().mean().item(), value_loss, held, moved

    loss, clipped, value_loss, held, _ = epoch(policy, value)
    assert not held.any()
    metrics = {"loss": loss.item(), "value_loss": ((r - old) ** 2).mean().item(), "objective/kl": batch.kl().item(),
               "clip_ratio/region_mean": clipped}
    if rates is None:
        return {"metrics": metrics, "policy": gradients(loss, policy), "value": gradients(value_loss, value)}
    policy, value = copy.deepcopy(policy), copy.deepcopy(value)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=rates[name], weight_decay=0.0)
                  for name, model in (("policy", policy), ("value", value))]

    def update(*losses):
        for optimizer, loss in zip(optimizers, losses):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    loss, _, value_loss, _, _ = epoch(policy, value)
    update(loss, value_loss)
    loss, clipped, value_loss, held, moved = epoch(policy, value)
    # Some values are held, others are not, and rounding decides for none.
    assert 0 < held.sum() < len(held) and ((moved.abs() - value_clip).abs() > 1e-3).all(), moved
    update(loss, value_loss)
    metrics["loss"] = (metrics["loss"] + loss.item()) / 2
    metrics["clip_ratio/region_mean"] = (metrics["clip_ratio/region_mean"] + clipped) / 2

    def moments(model, optimizer):
        """AdamW's first moments, in units of the weight of the last gradient: 0.9 of the first and all of the last."""
        return shadow((name, optimizer.state[p]["exp_avg"] / 0.1) for name, p in model.named_parameters()
                      if p in optimizer.state)

    return {"metrics": metrics, "policy": moments(policy, optimizers[0]), "value": moments(value, optimizers[1])}


def make_pairs():
    pairs = []
    for i, label in enumerate(LABELS):
        a = [(53 * i + 7 * t + 3) % 300 for t in range(2 + i)]
        b = [(29 * i + 13 * t + 8) % 300 for t in range(4 - i % 3)]
        pairs.append({"prompt": CONTEXTS[i % 2], "a": a, "b": b, "label": label})
    return pairs


def sides(pair):
    return [{"prompt": pair["prompt"], "response": pair[side]} for side in "ab"]


def dpo(pairs, policy, reference, loss, beta):
    def one_sided(h):
        return {"dpo": -F.logsigmoid(beta * h), "ipo": (h - 1 / (2 * beta)) ** 2,
                "slic": torch.relu(1 - beta * h)}[loss]

    total, margins = 0.0, []
    for pair in pairs:
        a, b = [logprobs(policy, s, 1.0).sum() - logprobs(reference, s, 1.0).sum().detach() for s in sides(pair)]
        h, p = a - b, pair["label"]
        total = total + (p * one_sided(h) + (1 - p) * one_sided(-h)) / len(pairs)
        margins.append(beta * (h if p >= 0.5 else -h).item())
    return {"metrics": {"loss": total.item(), "rewards/margins": sum(margins) / len(margins)},
            "policy": gradients(total, policy)}


def reward_loss(pairs, model):
    total = 0.0
    for pair in pairs:
        a, b = [model(s["prompt"] + s["response"])[-1] for s in sides(pair)]
        p = pair["label"]
        total = total - (p * F.logsigmoid(a - b) + (1 - p) * F.logsigmoid(b - a)) / len(pairs)
    return total


def reward_model(pairs):
    model = Value()
    move(model.named_parameters(), 0.02)
    loss = reward_loss(pairs, model)
    first = {"metrics": {"loss": loss.item()}, "model": gradients(loss, model)}
    # Three steps of Adafactor, whose first already is factored.
    optimizer = Adafactor(model.parameters(), lr=3e-3, scale_parameter=False, relative_step=False,
                          warmup_init=False, eps=(1e-30, 1e-3), clip_threshold=1.0, decay_rate=-0.8)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = reward_loss(pairs, model)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    return first, {"losses": losses, "weights": shadow(model.named_parameters())}


def alone():
    """An accelerator of one process, as far as losses ask for one."""
    return Plain(gather=lambda t: t, gather_for_metrics=lambda t: t, reduce=lambda t, reduction: t, num_processes=1)


def make_certain_pairs():
    """Label and margin are ours: the margin is negative where B is better."""
    return [{**pair, "label": float(better == "a"), "margin": margin if better == "a" else -margin}
            for pair, (better, margin) in zip(make_pairs(), CERTAIN)]


def trls_reward_model(pairs, margin, center):
    """The loss of TRL's trainer, from its own batches, on the classifier of transformers."""
    value = Value()
    move(value.named_parameters(), 0.02)
    folder = HERE / "tiny-llama"
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", num_labels=1, pad_token_id=PADDING).eval()
    # Ours and theirs are named alike.
    model.load_state_dict(value.state_dict())

    def example(pair):
        a, b = [s["prompt"] + s["response"] for s in sides(pair)]
        assert PADDING not in a + b
        chosen, rejected = (a, b) if pair["label"] == 1.0 else (b, a)
        ids = {"chosen_ids": chosen, "rejected_ids": rejected}
        return {**ids, "margin": margin * abs(pair["margin"])} if margin else ids

    inputs = DataCollatorForPreference(pad_token_id=PADDING)([example(pair) for pair in pairs])
    me = Plain(accelerator=alone(), model=Plain(training=True), args=Plain(center_rewards_coefficient=center or None),
               _metrics={"train": defaultdict(list)}, _total_train_tokens=0, _tp_size=1)
    loss = RewardTrainer.compute_loss(me, model, inputs)
    return {"objective": {"margin": margin, "center": center}, "metrics": {"loss": loss.item()},
            "model": gradients(loss, model)}


def ask_trl(batch, advantages, rloo_advantages, pairs, policy, reference, made):
    """TRL's own losses on the same log-probabilities."""
    longest = max(LENGTHS)

    def padded(rows):
        return torch.stack([F.pad(row, (0, longest - len(row))) for row in rows])

    mask = padded([torch.ones(n) for n in LENGTHS])
    now, drawn, ref = padded(batch.now), padded(batch.drawn), padded(batch.reference)
    common = dict(aux_loss_enabled=False, epsilon_low=0.2, epsilon_high=0.2, accelerator=alone(),
                  _metrics={"train": defaultdict(list)}, model=Plain(training=True),
                  _get_per_token_logps_and_entropies=lambda *_, **__: (now, torch.zeros_like(now), None))
    inputs = dict(prompt_ids=torch.zeros(len(LENGTHS), 1, dtype=torch.long),
                  prompt_mask=torch.ones(len(LENGTHS), 1), completion_ids=mask.long(),
                  completion_mask=mask, old_per_token_logps=drawn, ref_per_token_logps=ref)
    for name, loss_type in [("grpo", "grpo"), ("grpo_by_token", "bnpo")]:
        me = Plain(**common, top_entropy_quantile=1.0, off_policy_mask_threshold=None, beta=0.04,
                   importance_sampling_level="token", use_vllm=False, loss_type=loss_type,
                   args=Plain(use_bias_correction_kl=False, delta=None), _entropy_bonus_enabled=False,
                   current_gradient_accumulation_steps=1)
        theirs = GRPOTrainer._compute_loss(me, None, {**inputs, "advantages": advantages[name]})
        agree(name, theirs.item(), made[name]["metrics"]["loss"])
    # RLOO: at ratio 1 the gradient of TRL's clipped loss is that of the score function.
    me = Plain(**common)
    old = (now * mask).sum(1).detach()
    theirs = RLOOTrainer._compute_loss(me, None, {**inputs, "old_logps": old, "advantages": rloo_advantages})
    shadowed = gradients(theirs, policy)
    for name, (product, norm) in made["rloo_on_policy"]["policy"].items():
        agree(f"rloo {name}", shadowed[name][1], norm)
        agree(f"rloo {name}", shadowed[name][0], product)

    # DPO and SLiC, on certain labels. TRL's IPO divides by lengths, ours is the paper's.
    rows = [[logprobs(m, s, 1.0) for pair in pairs for s in sides(pair)] for m in (policy, reference)]
    longest = max(len(row) for row in rows[0])
    # TRL's batch is all chosen, then all rejected; its first column is the prompt's.
    stacked = [torch.stack([F.pad(row, (0, longest - len(row))) for row in r[0::2] + r[1::2]]) for r in rows]
    mask = torch.stack([F.pad(torch.ones(len(row)), (1, longest - len(row))) for row in rows[0][0::2] + rows[0][1::2]])
    certain = [{**pair, "label": 1.0} for pair in pairs]
    ref_chosen, ref_rejected = stacked[1].detach().sum(1).chunk(2)
    inputs = dict(input_ids=mask.long(), attention_mask=mask, completion_mask=mask,
                  ref_chosen_logps=ref_chosen, ref_rejected_logps=ref_rejected)
    zeros = torch.zeros_like(stacked[0])
    said = Plain(log_probs=stacked[0], entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())
    for ours, theirs in [("dpo", "sigmoid"), ("slic", "hinge")]:
        me = Plain(accelerator=Plain(device="cpu", **vars(alone())), model=Plain(training=True), beta=0.1,
                   ld_alpha=None, aux_loss_enabled=False, precompute_ref_logps=True, use_weighting=False,
                   f_divergence_type="reverse_kl", loss_types=[theirs], loss_weights=[1.0],
                   _metrics={"train": defaultdict(list)}, _total_train_tokens=0, _tp_size=1)
        loss = DPOTrainer._compute_loss(me, lambda **_: said, inputs, False)
        agree(ours, loss.item(), dpo(certain, policy, reference, ours, 0.1)["metrics"]["loss"])


def agree(what, theirs, ours):
    assert math.isclose(theirs, ours, rel_tol=1e-4, abs_tol=1e-5), f"{what}: TRL {theirs}, ours {ours}"
    print(f"{what}: TRL {theirs:.6f}, ours {ours:.6f}")


def main():
    reference = start()
    policy = start()
    move(policy.named_parameters(), 0.02)
    value = Value()
    move(value.named_parameters(), 0.02)
    episodes, pairs = make_episodes(policy), make_pairs()

    def batch():
        return Batch(episodes, policy, reference)

    made = {
        "reinforce": reinforce(batch(), policy, value, 0.05, "reward", "k1", 1.2),
        "reinforce_centered": reinforce(batch(), policy, value, 0.05, "reward", "k1", 1.2, centered=True),
        "reinforce_k2_loss": reinforce(batch(), policy, value, 0.3, "loss", "k2", 1.2),
        "reinforce_k3_loss": reinforce(batch(), policy, value, 0.3, "loss", "k3", 1.2),
        "reinforce_k3_reward": reinforce(batch(), policy, value, 0.3, "reward", "k3", 1.2),
        "ppo": ppo(batch(), policy, value, 0.05, 0.2, 0.2, 0.95),
        "ppo_unwhitened": ppo(batch(), policy, value, 0.05, 0.2, 0.2, 0.95, whitened=False),
        "ppo_two_epochs": ppo(batch(), policy, value, 0.05, 0.2, 0.2, 0.95, PPO_RATES),
        "dpo": dpo(pairs, policy, reference, "dpo", 0.1),
        "ipo": dpo(pairs, policy, reference, "ipo", 0.1),
        "slic": dpo(pairs, policy, reference, "slic", 0.1),
    }
    advantages = {}
    made["rloo"], _ = rloo(batch(), policy, 0.05, 1.2)
    on_policy = batch()
    on_policy.weights = lambda _: [torch.ones_like(d) for d in on_policy.drawn]
    made["rloo_on_policy"], rloo_advantages = rloo(on_policy, policy, 0.05, 1.2)
    made["grpo"], advantages["grpo"] = grpo(batch(), policy, 0.04, 0.2, 0.2, True, False)
    made["grpo_by_token"], advantages["grpo_by_token"] = grpo(batch(), policy, 0.04, 0.2, 0.2, False, True)
    made["reward_model"], adafactor = reward_model(pairs)
    ask_trl(batch(), advantages, rloo_advantages, pairs, policy, reference, made)
    certain = make_certain_pairs()
    made["trls_reward_model"] = trls_reward_model(certain, 0.0, 0.0)
    made["trls_reward_model_with_margins"] = trls_reward_model(certain, 0.5, 0.0)
    # Rewards are so near to 0 here that it takes this much for centering to be felt.
    made["trls_reward_model_with_margins_and_centering"] = trls_reward_model(certain, 0.5, 10.0)
    versions = {module.__name__: module.__version__.split("+")[0] for module in (torch, transformers, trl)}
    golden = {"made_by": versions, "temperature": TEMPERATURE, "group_size": GROUP, "ppo_rates": PPO_RATES,
              "episodes": episodes, "pairs": pairs, "certain_pairs": certain, "cases": made, "adafactor": adafactor}
    (HERE / "rl.json").write_text(json.dumps(golden, indent=1) + "\n")


main()

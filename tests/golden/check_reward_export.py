#!/usr/bin/env python3
"""Checks that transformers reads a reward model that rlaif wrote, with equal scores.

  rlaif reward train --in pairs.jsonl --model START --out rm ...
  rlaif reward score --model rm --in pairs.jsonl --out scored.jsonl
  check_reward_export.py rm scored.jsonl [RECORDS]

Loads the folder by AutoModelForSequenceClassification and PreTrainedTokenizerFast, scores the first RECORDS
(20) pairs or responses in padded batches as their users do, and compares with what `rlaif reward score` wrote. The
largest difference may be 1e-3: sums are taken in another order. (AutoTokenizer gives Qwen2 models a splitting of words
of its own, whatever their tokenizer.json says; in real ones it is the same. A tokenizer of SentencePiece's kind is not for
this: it would put a space before the response.) Needs: pip install torch transformers safetensors.
"""
import json
import pathlib
import sys

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

TOLERANCE = 1e-3
BATCH = 4


def responses(record):
    """Texts of a record and the rewards that rlaif gave them."""
    for field, texts in [("reward_a", ("response_a", "chosen")), ("reward_b", ("response_b", "rejected")),
                         ("reward", ("response",))]:
        if field in record:
            text = next(record[text] for text in texts if text in record)
            # One message, where it is a conversation.
            yield text if isinstance(text, str) else text[-1]["content"], record[field]


def encoded(tokenizer, chat, prompt, response):
    """What the tokenizer puts before a text, once; prompt, response, and the token that ends a text. What looks like a
    special token is text."""
    start = tokenizer("").input_ids
    plain = lambda text: tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    if chat:
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False).input_ids
    else:
        ids = plain(prompt)
    if ids[:len(start)] != start:
        ids = start + ids
    return ids + plain(response) + [tokenizer.eos_token_id]


@torch.no_grad()
def main(folder, scored, count):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    weight = model.score.weight
    assert model.config.num_labels == 1 and weight.shape == (1, model.config.hidden_size), weight.shape
    read = lambda name, default: json.loads(path.read_text()) if (path := folder / name).exists() else default
    normalisation = read("normalisation.json", {"mean": 0.0, "std": 1.0})
    chat = read("reward.json", {}).get("chat", False)
    records = [json.loads(line) for line in scored.read_text().splitlines()]
    records = [record for record in records if "unscorable" not in record][:count]
    asked = [(encoded(tokenizer, chat, record["prompt"], text), reward)
             for record in records for text, reward in responses(record)]
    assert asked, f"{scored} holds no scored response"
    largest = 0.0
    for start in range(0, len(asked), BATCH):
        batch = asked[start:start + BATCH]
        inputs = tokenizer.pad({"input_ids": [ids for ids, _ in batch]}, return_tensors="pt")
        outputs = model(**inputs).logits[:, 0].tolist()
        for output, (_, reward) in zip(outputs, batch):
            largest = max(largest, abs(output - (reward * normalisation["std"] + normalisation["mean"])))
    print(f"{len(asked)} scores, largest difference {largest:.2e}")
    if not largest <= TOLERANCE:
        sys.exit(f"that is more than {TOLERANCE}")


if len(sys.argv) not in (3, 4):
    sys.exit(__doc__)
main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) == 4 else 20)

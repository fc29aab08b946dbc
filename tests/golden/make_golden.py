#!/usr/bin/env python3
"""Makes the golden values that tests/golden.rs holds our models against.

  make_golden.py tiny                   random llama, qwen2 and qwen3 models, as folders beside this file
  make_golden.py reward                 a random reward model, as folder tiny-reward, and its scores
  make_golden.py gguf FOLDER FILE NAME  values of a GGUF file, into NAME.json

Needs: pip install torch==2.13.0 transformers accelerate gguf safetensors. Everything is f32 on the
CPU. A golden file holds, for each text, token ids and the log-probabilities of tokens 2..n, and the
greedy continuation of one prompt by 48 tokens (end-of-text does not stop it).
"""
import json
import pathlib
import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM,
                          LlamaForSequenceClassification, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, Qwen3Config,
                          Qwen3ForCausalLM)

HERE = pathlib.Path(__file__).parent
TEXTS = ["The capital of France is Paris.", "def f(x):\n    return x**2  # square\n\n",
         "Numbers 1234567 and 3.14159!", "naïve café — 日本語 🚀 x\t\ty  z",
         "It's we're I'll\r\n\r\n  done   "]
PROMPT = "Once upon a time"
NEW_TOKENS = 48


@torch.no_grad()
def golden(tokenizer, model):
    texts = []
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        logprobs = model(torch.tensor([ids])).logits.log_softmax(-1)[0]
        chosen = [logprobs[i, token].item() for i, token in enumerate(ids[1:])]
        texts.append({"text": text, "token_ids": ids, "logprobs": chosen})
    ids = tokenizer(PROMPT, add_special_tokens=False).input_ids
    tokens = list(ids)
    for _ in range(NEW_TOKENS):
        tokens.append(model(torch.tensor([tokens])).logits[0, -1].argmax().item())
    return {"texts": texts, "prompt": PROMPT, "greedy": tokens[len(ids):]}


def tiny_tokenizer():
    """Byte-level BPE with a handful of merges, and two special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>", "</s>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(TEXTS + ["the cat sat on the mat and then the other cat"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def tiny():
    tokenizer = tiny_tokenizer()
    shape = dict(vocab_size=304, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                 num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
                 initializer_range=0.3, bos_token_id=0, eos_token_id=1)
    stretched = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                     original_max_position_embeddings=64)
    made = {
        "tiny-llama": LlamaForCausalLM(LlamaConfig(**shape, rope_scaling=stretched)),
        "tiny-qwen2": Qwen2ForCausalLM(Qwen2Config(**shape, tie_word_embeddings=True)),
        "tiny-qwen3": Qwen3ForCausalLM(Qwen3Config(**shape, head_dim=16)),
    }
    for name, model in made.items():
        randomise(model, len(name))
        model.tie_weights()
        # One of them in shards.
        size = "60KB" if name == "tiny-qwen2" else "5GB"
        model.save_pretrained(HERE / name, max_shard_size=size)
        tokenizer.save_pretrained(HERE / name)
        write(name, golden(tokenizer, model))


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        # Biases and norms too: zeros and ones would hide a missing one.
        center = 1.0 if parameter.dim() == 1 and parameter.mean() == 1.0 else 0.0
        noise = torch.randn(parameter.shape, generator=generator) * 0.3
        parameter.data = center + noise
    model.eval()


@torch.no_grad()
def reward():
    tokenizer = tiny_tokenizer()
    # Padding must not be the end of a text: the score is read at the last token that is no padding.
    tokenizer.pad_token = tokenizer.bos_token
    model = LlamaForSequenceClassification(LlamaConfig(
        vocab_size=304, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=256, bos_token_id=0, eos_token_id=1,
        pad_token_id=tokenizer.pad_token_id, num_labels=1))
    randomise(model, 11)
    model.save_pretrained(HERE / "tiny-reward")
    tokenizer.save_pretrained(HERE / "tiny-reward")
    ids = lambda text: tokenizer(text, add_special_tokens=False).input_ids
    pairs = [(PROMPT, text) for text in TEXTS] + [(text, "") for text in TEXTS[:2]]
    sequences = [ids(prompt) + ids(response) + [tokenizer.eos_token_id] for prompt, response in pairs]
    scores = [model(torch.tensor([sequence])).logits[0, 0].item() for sequence in sequences]
    # In one batch, padded: what users of transformers do.
    batch = tokenizer.pad({"input_ids": sequences}, return_tensors="pt")
    padded = model(**batch).logits[:, 0].tolist()
    assert all(abs(a - b) < 1e-4 for a, b in zip(scores, padded)), (scores, padded)
    write("tiny-reward", [{"prompt": prompt, "response": response, "token_ids": sequence, "score": score}
                          for (prompt, response), sequence, score in zip(pairs, sequences, scores)])


def gguf(folder, file, name):
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    write(name, golden(tokenizer, model.eval()))


def write(name, values):
    (HERE / f"{name}.json").write_text(json.dumps(values, ensure_ascii=False) + "\n")


if sys.argv[1:2] == ["tiny"]:
    tiny()
elif sys.argv[1:2] == ["reward"]:
    reward()
elif sys.argv[1:2] == ["gguf"] and len(sys.argv) == 5:
    gguf(*sys.argv[2:])
else:
    sys.exit(__doc__)

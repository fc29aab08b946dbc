#!/usr/bin/env python3
"""PEFT's numbers beside ours, in both directions.

  peft_adapters.py make
Writes tiny-adapter/, an adapter of PEFT's own for tiny-llama with random factors, and tiny-adapter.json with the
log-probabilities that PEFT computes with it.

  rlaif export RUN --adapter adapter
  rlaif logprobs --model adapter --in texts.jsonl --out scored.jsonl
  peft_adapters.py check adapter scored.jsonl [BASE]
Loads an adapter that rlaif wrote by PeftModel.from_pretrained onto its base (or BASE, a folder or a .gguf file) and
compares with what `rlaif logprobs` wrote; the largest difference may be 1e-3: sums are taken in another order.

Needs: pip install torch transformers peft safetensors (gguf for a base in that format).
"""
import json
import pathlib
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
TOLERANCE = 1e-3
TEXTS = ["The quick brown fox jumps over the lazy dog.", "Tell me about the sea.", "0 1 2 3"]


def load(base):
    """The base in f32."""
    path = pathlib.Path(base)
    if path.suffix == ".gguf":
        return AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()


@torch.no_grad()
def logprobs(model, ids):
    """Of each token from the second on."""
    log_softmax = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return [log_softmax[i, token].item() for i, token in enumerate(ids[1:])]


def make():
    torch.manual_seed(0)
    base = HERE / "tiny-llama"
    config = LoraConfig(r=2, lora_alpha=3, use_rslora=True, task_type="CAUSAL_LM",
                        target_modules=["q_proj", "v_proj", "down_proj"])
    model = get_peft_model(load(base), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
    model.peft_config["default"].base_model_name_or_path = "../tiny-llama"
    model.save_pretrained(HERE / "tiny-adapter")
    (HERE / "tiny-adapter/README.md").unlink(missing_ok=True)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    ids = [tokenizer(text, add_special_tokens=False).input_ids for text in TEXTS]
    golden = [{"text": text, "logprobs": logprobs(model.eval(), ids)} for text, ids in zip(TEXTS, ids)]
    (HERE / "tiny-adapter.json").write_text(json.dumps(golden, indent=1) + "\n")


def check(adapter, scored, base=None):
    config = json.loads((pathlib.Path(adapter) / "adapter_config.json").read_text())
    model = load(base or config["base_model_name_or_path"])
    records = [json.loads(line) for line in pathlib.Path(scored).read_text().splitlines()]
    of = lambda model: [x for record in records for x in logprobs(model, record["token_ids"])]
    plain = of(model)
    adapted = of(PeftModel.from_pretrained(model, adapter).eval())
    ours = [x for record in records for x in record["logprobs"]]
    largest = lambda a, b: max(abs(a - b) for a, b in zip(a, b, strict=True))
    print(f"{len(ours)} log-probabilities; the adapter changes them by up to {largest(plain, adapted):.2e}; "
          f"ours differ from PEFT's by up to {largest(ours, adapted):.2e}")
    if not largest(ours, adapted) <= TOLERANCE:
        sys.exit(f"that is more than {TOLERANCE}")


if sys.argv[1:] == ["make"]:
    make()
elif len(sys.argv) in (4, 5) and sys.argv[1] == "check":
    check(*sys.argv[2:])
else:
    sys.exit(__doc__)

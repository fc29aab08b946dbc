#!/usr/bin/env python3
"""A step of DPO on given pairs: rlaif, and TRL's DPOTrainer on the same pairs with the same model.

    benches/training/peers.py BINARY MODEL.gguf PAIRS.jsonl [--lora] [--batch 4] [--steps 5] [--rounds 2]

PAIRS.jsonl holds {"prompt", "chosen", "rejected"}, texts. Both train in f32 on the CPU with AdamW, the
reference model's pass included; the first step of each run is left out. The two take turns, so that a machine
that slows down slows both. Prints one JSON object a run. Needs torch, transformers, trl, peft, gguf.
"""
import argparse, json, os, subprocess, sys, tempfile, time
from pathlib import Path

JOB = """
name = "dpo-step"
chunk_size = 8
policy = {{ model = "{model}", chat = false }}
labeler = {{ model = "{model}", template = "helpful/base" }}
{lora}
[data]
prompts = "prompts.jsonl"
heldout_prompts = "heldout.jsonl"
preferences = "pairs.jsonl"
[sampling]
max_new_tokens = 2
[rl]
reward = "preferences"
algorithm = "dpo"
steps = {steps}
batch_size = {batch}
[rl.dpo]
beta = 0.1
policy = {{ lr = 1e-6 }}
"""
LORA = '[lora]\nrank = 16\nalpha = 32.0\ntargets = ["q_proj", "v_proj"]\n'


def ours(a, pairs):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        lines = lambda rows: "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "pairs.jsonl").write_text(lines(pairs))
        (folder / "prompts.jsonl").write_text(lines({"prompt": p["prompt"]} for p in pairs))
        (folder / "heldout.jsonl").write_text(lines([{"prompt": "Say hello."}]))
        lora = LORA if a.lora else ""
        (folder / "job.toml").write_text(JOB.format(model=os.path.abspath(a.model), lora=lora, steps=a.steps, batch=a.batch))
        command = [os.path.abspath(a.binary), "run", "job.toml", "--out", "out"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        journal = [json.loads(line) for line in (folder / "out/journal.jsonl").read_text().splitlines()]
        return [entry["seconds"] for entry in journal if entry["stage"] == "policy"]


def trl(a, pairs):
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    torch.set_num_threads(os.cpu_count())
    at = dict(pretrained_model_name_or_path=os.path.dirname(a.model) or ".", gguf_file=os.path.basename(a.model))
    tokenizer = AutoTokenizer.from_pretrained(**at)

    def load():
        model = AutoModelForCausalLM.from_pretrained(**at, dtype=torch.float32)
        # Its weights are f32 now; transformers goes on to take what came from a GGUF file for quantised.
        model.is_quantized, model.hf_quantizer = False, None
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        return model

    model = load()
    targets = ["q_proj", "v_proj"]
    lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=targets) if a.lora else None
    seconds = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.began = time.monotonic()

        def on_step_end(self, *_, **__):
            seconds.append(time.monotonic() - self.began)

    with tempfile.TemporaryDirectory() as folder:
        config = DPOConfig(
            output_dir=folder, max_steps=a.steps, per_device_train_batch_size=a.batch, learning_rate=1e-6,
            beta=0.1, report_to="none", use_cpu=True, bf16=False, gradient_checkpointing=False, logging_steps=1000,
            save_strategy="no", max_length=None, disable_tqdm=True,
        )
        trainer = DPOTrainer(
            model=model, ref_model=None if a.lora else load(), args=config, train_dataset=Dataset.from_list(pairs),
            processing_class=tokenizer, peft_config=lora, callbacks=[Clock()],
        )
        trainer.train()
    return seconds


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("binary"); p.add_argument("model"); p.add_argument("pairs")
    p.add_argument("--lora", action="store_true")
    for name, default in (("batch", 4), ("steps", 5), ("rounds", 2)):
        p.add_argument("--" + name, type=int, default=default)
    p.add_argument("--only-trl", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    rows = [json.loads(line) for line in open(a.pairs)]
    fields = ("prompt", "chosen", "rejected")
    pairs = [{field: row[field] for field in fields} for row in rows][: a.batch * a.steps]
    if a.only_trl:
        print(json.dumps(trl(a, pairs)))
        return
    for _ in range(a.rounds):
        report("rlaif", a, ours(a, pairs))
        # A process of its own: what it leaves behind is no burden for ours.
        done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--only-trl"], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        report("TRL DPOTrainer", a, json.loads(done.stdout.splitlines()[-1]))


def report(who, a, seconds):
    best = min(seconds[1:])
    print(json.dumps(dict(who=who, lora=a.lora, pairs=a.batch, best_s=best, pairs_per_s=a.batch / best, seconds=seconds)), flush=True)


main()

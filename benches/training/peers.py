#!/usr/bin/env python3
"""A training step of `rlaif run` beside PyTorch's on the same texts with the same model: fine-tuning beside
transformers (and PEFT), DPO on given pairs beside TRL's DPOTrainer; tokens a second and peak memory.

    benches/training/peers.py BINARY MODEL PAIRS.jsonl [--cases sft-full sft-lora dpo-full dpo-lora]
                              [--steps 4] [--rounds 1] [--demonstrations 8] [--pairs 4]

MODEL is a .gguf file or a folder; PAIRS.jsonl holds {"prompt", "chosen", "rejected"}, texts. DPO learns its first
pairs, fine-tuning what was chosen where that is of medium length, so that the peer has little to pad. Both sides
train in f32 on the CPU with AdamW and clipped gradients, the reference model's pass of DPO included; adapters are of
rank 16 on q and v. Every step is on the same whole batch at once. What is timed are all steps but the first, with
fresh optimiser state, and the last, with which ours leaves its state on disk; the best counts. Each run is a process
of its own, and ours and theirs take turns, so that a machine that slows down slows both.

Prints one JSON object a run, then one a case: ours against theirs. `tokens` are those of prompts and responses
without padding, `learned` those of responses, `positions` what the peer computes with its padding. `peak_mib` is a
whole process's resident memory at its highest, ours with the state written and the evaluation at the end of a job;
`peak_of_steps_mib` is ours up to the last step that is timed. It ends in failure where the two sides count other
tokens or measure other losses: the first step's, and with all weights, which begin alike, every step's.

Needs torch, transformers, trl, peft, gguf.
"""
import argparse, json, os, subprocess, sys, tempfile, time
from pathlib import Path

JOB = """
name = "training-step"
chunk_size = 8
policy = {{ model = {model}, chat = false }}
labeler = {{ model = {model}, template = "helpful/base" }}
[sampling]
max_new_tokens = 2
[rl]
reward = "preferences"
algorithm = "dpo"
steps = {rl_steps}
batch_size = {batch}
micro_batch_tokens = {micro_batch_tokens}
[rl.dpo]
beta = 0.1
policy = {{ lr = 1e-6 }}
{lora}
[data]
prompts = "prompts.jsonl"
heldout_prompts = "heldout.jsonl"
preferences = "pairs.jsonl"
{sft}
"""
LORA = '[lora]\nrank = 16\nalpha = 32.0\ntargets = ["q_proj", "v_proj"]'
SFT = """demonstrations = "demonstrations.jsonl"
[sft]
epochs = {steps}
batch_size = {batch}
optimizer = {{ lr = 1e-6 }}
"""
CASES = ("sft-full", "sft-lora", "dpo-full", "dpo-lora")


def sequences(method, pairs):
    """What a step reads: each prompt with each response that is learned from."""
    sides = {"sft": ["chosen"], "dpo": ["chosen", "rejected"]}[method]
    return [(pair["prompt"], pair[side]) for pair in pairs for side in sides]


def batch(a, method):
    """The pairs of each step."""
    fields = ("prompt", "chosen", "rejected")
    rows = [{field: row[field] for field in fields} for row in map(json.loads, open(a.pairs_file))]
    size = {"sft": a.demonstrations, "dpo": a.pairs}[method]
    if len(rows) < size:
        sys.exit(f"{a.pairs_file} has {len(rows)} pairs, fewer than the {size} of a step")
    if method == "dpo":
        return rows[:size]
    rows.sort(key=lambda row: len(row["prompt"] + row["chosen"]))
    first = (len(rows) - size) // 2
    return rows[first : first + size]


def ours(a, method, weights):
    pairs = batch(a, method)
    texts = sequences(method, pairs)
    settings = dict(
        model=json.dumps(os.path.abspath(a.model)), steps=a.steps, batch=len(pairs),
        # The whole batch: a token is a byte at least, and each response has an end of text.
        micro_batch_tokens=sum(len((prompt + response).encode()) + 1 for prompt, response in texts),
    )
    settings["rl_steps"] = a.steps if method == "dpo" else 0
    settings["lora"] = LORA if weights == "lora" else ""
    settings["sft"] = SFT.format(**settings) if method == "sft" else ""
    stage = {"sft": "sft", "dpo": "policy"}[method]
    ended, peaks = [], []

    def says(pid, line):
        if line.startswith(f"{stage} {len(ended) + 1}/{a.steps} "):
            ended.append(time.monotonic())
            peaks.append(peak_so_far(pid))

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files = dict(
            pairs=pairs, prompts=[{"prompt": pair["prompt"]} for pair in pairs], heldout=[{"prompt": "Say hello."}],
            demonstrations=[{"prompt": prompt, "completion": response} for prompt, response in texts],
        )
        for name, rows in files.items():
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "job.toml").write_text(JOB.format(**settings))
        _, peak = run([os.path.abspath(a.binary), "run", "job.toml", "--out", "out"], says, cwd=folder)
        metrics = [json.loads(line) for line in open(folder / "out/metrics.jsonl")]
    metrics = [step for step in metrics if step["stage"] == stage]
    if not len(ended) == len(metrics) == a.steps:
        sys.exit(f"{a.steps} steps of {stage} were asked for, {len(ended)} were told, {len(metrics)} measured")
    first = metrics[0]
    learned = first["tokens"] if method == "sft" else round(first["completions/mean_length"] * len(texts))
    return dict(
        who="rlaif run", seconds=[end - begin for begin, end in zip(ended, ended[1:-1])], learned=learned,
        losses=[step["loss"] for step in metrics], peak_mib=peak, peak_of_steps_mib=peaks[-2],
    )


def theirs(case):
    output, peak = run([sys.executable, *sys.argv, "--peer", case])
    return dict(json.loads(output.splitlines()[-1]), peak_mib=peak)


def run(command, says=lambda pid, line: None, **how):
    """Runs a command; `says` hears each line of its standard error when it is written. Returns its standard output and
    its peak resident memory in MiB."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True, **how)
        said = []
        for line in process.stderr:
            says(process.pid, line)
            said.append(line)
        # Of this very child. It counts what was resident before exec too, so this process imports nothing large.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{''.join(said)}")
        output.seek(0)
        return output.read(), usage.ru_maxrss // 1024


def peak_so_far(pid):
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM:"))


def peer(a, method, weights):
    """In a process of its own."""
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(os.cpu_count())
    at = dict(pretrained_model_name_or_path=a.model)
    if a.model.endswith(".gguf"):
        at = dict(
            pretrained_model_name_or_path=os.path.dirname(a.model) or ".", gguf_file=os.path.basename(a.model)
        )
    tokenizer = AutoTokenizer.from_pretrained(**at)

    def load():
        model = AutoModelForCausalLM.from_pretrained(**at, dtype=torch.float32)
        # Its weights are f32 now; transformers goes on to take what came from a GGUF file for quantised.
        model.is_quantized, model.hf_quantizer = False, None
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        return model

    pairs, lora = batch(a, method), None
    if weights == "lora":
        lora = LoraConfig(
            r=16, lora_alpha=32, lora_dropout=0.0, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
        )
    prompts_and_responses = [
        (tokenizer(prompt).input_ids,
         tokenizer(response, add_special_tokens=False).input_ids + [tokenizer.eos_token_id])
        for prompt, response in sequences(method, pairs)
    ]
    lengths = [len(prompt) + len(response) for prompt, response in prompts_and_responses]
    count = dict(
        tokens=sum(lengths), learned=sum(len(response) for _, response in prompts_and_responses),
        positions=len(lengths) * max(lengths),
    )
    if method == "sft":
        measured = fine_tuned(a, load(), lora, prompts_and_responses)
    else:
        measured = trl(a, load, lora, pairs, tokenizer, count["tokens"])
    print(json.dumps(measured | count))


def fine_tuned(a, model, lora, prompts_and_responses):
    import torch
    from peft import get_peft_model

    model = get_peft_model(model, lora) if lora else model
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6, weight_decay=0.0, fused=True)
    # Padded on the right; -100 is not learned.
    longest = max(len(prompt) + len(response) for prompt, response in prompts_and_responses)
    shape = len(prompts_and_responses), longest
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, -100)
    for row, (prompt, response) in enumerate(prompts_and_responses):
        end = len(prompt) + len(response)
        ids[row, :end], mask[row, :end] = torch.tensor(prompt + response), 1
        labels[row, len(prompt) : end] = torch.tensor(response)
    seconds, losses = [], []
    for _ in range(a.steps):
        began = time.monotonic()
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.monotonic() - began)
    return dict(who="PyTorch", seconds=seconds[1:-1], losses=losses)


def trl(a, load, lora, pairs, tokenizer, tokens):
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer

    seconds = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.began = time.monotonic()

        def on_step_end(self, *_, **__):
            seconds.append(time.monotonic() - self.began)

    with tempfile.TemporaryDirectory() as folder:
        config = DPOConfig(
            output_dir=folder, max_steps=a.steps, per_device_train_batch_size=len(pairs), learning_rate=1e-6,
            lr_scheduler_type="constant", beta=0.1, report_to="none", use_cpu=True, bf16=False,
            gradient_checkpointing=False, logging_steps=1, save_strategy="no", max_length=None, disable_tqdm=True,
        )
        trainer = DPOTrainer(
            model=load(), ref_model=None if lora else load(), args=config, train_dataset=Dataset.from_list(pairs),
            processing_class=tokenizer, peft_config=lora, callbacks=[Clock()],
        )
        trainer.train()
    steps = [step for step in trainer.state.log_history if "loss" in step]
    if steps[0]["num_tokens"] != tokens:
        sys.exit(f"TRL reads {steps[0]['num_tokens']} tokens a step where the texts have {tokens}")
    return dict(who="TRL DPOTrainer", seconds=seconds[1:-1], losses=[step["loss"] for step in steps])


def compare(case, we, they):
    """Prints a case's ratio, the best step of all rounds on each side; returns what forbids the comparison."""
    best = lambda runs: max(run["tokens_per_s"] for run in runs)
    peak = lambda runs: max(run["peak_mib"] for run in runs)
    print(json.dumps(dict(
        case=case, tokens_per_s=[best(we), best(they)], ours_against_theirs=round(best(we) / best(they), 3),
        peak_mib=[peak(we), peak(they)], peak_of_steps_mib=max(run["peak_of_steps_mib"] for run in we),
    )))
    a, b = we[0], they[0]
    if a["learned"] != b["learned"]:
        return f"{case}: ours learns {a['learned']} tokens a step, {b['who']} {b['learned']}"
    steps = 1 if case.endswith("lora") else None
    losses = list(zip(a["losses"][:steps], b["losses"][:steps]))
    if any(abs(x - y) > 2e-3 * max(x, y) for x, y in losses):
        return f"{case}: the losses of ours and of {b['who']} differ: {losses}"
    return None


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("binary"); p.add_argument("model"); p.add_argument("pairs_file", metavar="pairs.jsonl")
    p.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    p.add_argument("--steps", type=int, default=4, help="of a run, 3 or more; all but the first and the last are timed")
    p.add_argument("--rounds", type=int, default=1, help="runs of each side")
    p.add_argument("--demonstrations", type=int, default=8, help="in a step of fine-tuning")
    p.add_argument("--pairs", type=int, default=4, help="in a step of DPO")
    p.add_argument("--peer", choices=CASES, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.steps < 3:
        p.error("--steps must be 3 or more: neither the first nor the last is timed")
    if a.peer:
        return peer(a, *a.peer.split("-"))
    runs = {case: ([], []) for case in a.cases}
    for _ in range(a.rounds):
        for case, (we, they) in runs.items():
            we.append(ours(a, *case.split("-")))
            they.append(theirs(case))
            for measured in (we[-1], they[-1]):
                best, tokens = min(measured["seconds"]), they[-1]["tokens"]
                measured["tokens_per_s"] = round(tokens / best, 1)
                print(json.dumps(dict(case=case, **measured)), flush=True)
    forbidden = [compare(case, we, they) for case, (we, they) in runs.items()]
    if any(forbidden):
        sys.exit("\n".join(filter(None, forbidden)))


main()

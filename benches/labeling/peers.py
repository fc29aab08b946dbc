#!/usr/bin/env python3
"""`rlaif label` against PyTorch with transformers and against llama.cpp with its prompt cache, on the same prompts,
one after the other on a machine that does nothing else.

  peers.py BINARY MODEL.gguf PAIRS.jsonl TEMPLATE [--shots 2] [--pairs 16] [--repeats 2]

PAIRS holds {"context", "a", "b"}; TEMPLATE is a file, or the name of a built-in template; it is asked as plain text,
without fences (which are hashes of the texts), so that all read the same. PyTorch runs as a user would write
it: batches of 8, sorted by length, padded on the left. llama.cpp has one slot, so that its prompt cache keeps what
a prompt shares with the one before; it computes in the file's quantised form, the others in f32. Prints one JSON
line each, and what the machine's matrix product gives.

Needs: pip install torch transformers gguf xllamacpp
"""
import argparse, json, os, pathlib, re, resource, subprocess, tempfile, time, tomllib

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

args = argparse.ArgumentParser()
for name in ("binary", "model", "pairs_file", "template"):
    args.add_argument(name)
args.add_argument("--shots", type=int, default=0)
args.add_argument("--pairs", type=int, default=16)
args.add_argument("--repeats", type=int, default=2)
a = args.parse_args()

pairs = [json.loads(line) for line in open(a.pairs_file)][: a.pairs]
folder = tempfile.TemporaryDirectory()
shown = [a.binary, "templates", "show", a.template]
text = subprocess.run(shown, check=True, capture_output=True, text=True).stdout.replace(" [{fence}]", "")
template_file = pathlib.Path(folder.name, "template.toml")
template_file.write_text(text.replace('layout = "chat"', 'layout = "text"'))
template = tomllib.loads(text)


def fill(form, values):
    return re.sub(r"\{(\w+)\}", lambda m: values.get(m[1], m[0]), form)


def prompt(pair, first, second):
    """The text that a judge reads."""
    text = template["preamble"]
    for exemplar in template.get("exemplars", [])[: a.shots]:
        text += fill(template["exemplar"], exemplar)
    values = {"context": pair["context"], "response_1": first, "response_2": second}
    return text + fill(template["sample"], values) + template["ending"]


def prompts():
    return [prompt(p, x, y) for p in pairs for x, y in ((p["a"], p["b"]), (p["b"], p["a"]))]


def best(run):
    times = []
    for _ in range(a.repeats):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return min(times), result


def soft(first):
    """Labels of the pairs, from the probability of "1" in each order."""
    return [(first[2 * i] + 1 - first[2 * i + 1]) / 2 for i in range(len(first) // 2)]


def ours():
    records, out = pathlib.Path(folder.name, "in.jsonl"), pathlib.Path(folder.name, "out.jsonl")
    lines = [{"prompt": p["context"], "response_a": p["a"], "response_b": p["b"]} for p in pairs]

    def write(lines):
        records.write_text("".join(json.dumps(line) + "\n" for line in lines))

    command = [a.binary, "label", "--model", a.model, "--template", str(template_file), "--shots", str(a.shots),
               "--in", str(records), "--out", str(out)]
    write(lines[:1])
    one, _ = best(lambda: subprocess.run(command, check=True))
    write(lines)
    seconds, _ = best(lambda: subprocess.run(command, check=True))
    without_start = (seconds - one) * len(pairs) / (len(pairs) - 1)
    labels = [json.loads(line)["soft_label"] for line in open(out)]
    # The largest child so far, and there was no other.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return {"who": "rlaif label, without start-up and loading", "seconds": without_start, "whole_command": seconds,
            "peak_mib": peak, "labels": labels}


def pytorch():
    path = pathlib.Path(a.model)
    tok = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name, padding_side="left")
    tok.pad_token = tok.pad_token or tok.eos_token
    model = AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name, dtype=torch.float32)
    texts = prompts()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    # A verdict with and without a space before it; where the space is a token of its own, this spelling is left out
    # here, as most do, and is added without being timed.
    spellings = {v: {ids[0] for s in (v, " " + v) if len(ids := tok(s, add_special_tokens=False).input_ids) == 1}
                 for v in "12"}
    one, two = (sorted(spellings[v]) for v in "12")
    first = [0.0] * len(texts)

    @torch.no_grad()
    def run():
        for i in range(0, len(order), 8):
            batch = order[i : i + 8]
            inputs = tok([texts[j] for j in batch], return_tensors="pt", padding=True, add_special_tokens=False)
            logits = model(**inputs, logits_to_keep=1).logits[:, -1].float()
            mass = [logits[:, ids].logsumexp(-1) for ids in (one, two)]
            for j, p in zip(batch, torch.stack(mass, -1).softmax(-1)[:, 0].tolist()):
                first[j] = p

    @torch.no_grad()
    def probability(text, verdict):
        """Of all spellings together, token by token."""
        before, total = tok(text, add_special_tokens=False).input_ids, 0.0
        for spelling in {verdict} if text[-1].isspace() else {verdict, " " + verdict}:
            ids = tok(spelling, add_special_tokens=False).input_ids
            logits = model(torch.tensor([before + ids[:-1]]), logits_to_keep=len(ids)).logits[0].float()
            total += logits.log_softmax(-1)[range(len(ids)), ids].sum().exp().item()
        return total

    run()
    seconds, _ = best(run)
    one_spelling = soft(first)
    all_spellings = [[probability(text, v) for v in "12"] for text in texts]
    labels = soft([one / (one + two) for one, two in all_spellings])
    tokens = [tok(text, add_special_tokens=False).input_ids for text in texts]
    linear = sum(p.numel() for name, p in model.named_parameters() if p.dim() == 2 and "embed" not in name
                 and "lm_head" not in name)
    return {"who": "PyTorch, after loading and one run", "seconds": seconds, "labels": labels,
            "difference_of_one_spelling": max(abs(x - y) for x, y in zip(labels, one_spelling))}, tokens, linear


def llama_cpp():
    from xllamacpp import CommonParams, Server
    import urllib.request

    params = CommonParams()
    params.model.path = a.model
    params.port = 0
    params.n_parallel = 1
    params.n_ctx = 4096
    params.cpuparams.n_threads = os.cpu_count()
    server = Server(params)
    url = server.listening_address + "/completion"

    def first(text):
        body = {"prompt": text, "n_predict": 1, "n_probs": 200, "temperature": 0, "cache_prompt": True}
        request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
        named = json.load(urllib.request.urlopen(request))["completion_probabilities"][0]["top_logprobs"]
        mass = {v: sum(2.718281828459045 ** c["logprob"] for c in named if c["token"] == v) for v in "12"}
        return mass["1"] / max(mass["1"] + mass["2"], 1e-12)

    first("Hello")
    # Each repetition begins with a cache that holds the end of the one before.
    seconds, probabilities = best(lambda: [first(text) for text in prompts()])
    return {"who": "llama.cpp, one slot with its prompt cache", "seconds": seconds, "labels": soft(probabilities)}


def gemm():
    x, y = torch.randn(1024, 2048), torch.randn(2048, 2048)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 2:
        x @ y
        count += 1
    return count * 2 * 1024 * 2048 * 2048 / (time.perf_counter() - start) / 1e9


def unique(sequences):
    """Tokens that are left when equal beginnings are counted once."""
    ordered, total, before = sorted(sequences), 0, []
    for sequence in ordered:
        shared = 0
        while shared < min(len(before), len(sequence)) and before[shared] == sequence[shared]:
            shared += 1
        total += len(sequence) - shared
        before = sequence
    return total


peak = [gemm()]
we = ours()
peer, tokens, linear = pytorch()
peak.append(gemm())
other = llama_cpp()
peak.append(gemm())
all_tokens, unique_tokens = sum(map(len, tokens)), unique(tokens)
print(json.dumps({"pairs": len(pairs), "tokens_per_pair": all_tokens / len(pairs),
                  "unique_per_pair": unique_tokens / len(pairs), "gemm_gflops": [round(g) for g in peak]}))
for result in (we, peer, other):
    labels = result.pop("labels")
    result["pairs_per_s"] = round(len(pairs) / result["seconds"], 3)
    result["largest_difference_from_ours"] = max(abs(x - y) for x, y in zip(labels, we.get("kept", labels)))
    we.setdefault("kept", labels)
    gflops = 2 * linear * unique_tokens / result["seconds"] / 1e9
    result["linear_gflops_on_unique_tokens"] = round(gflops, 1)
    result["of_gemm_peak"] = round(gflops / max(peak), 3)
    result["times_ours"] = round(result["pairs_per_s"] / we["pairs_per_s"], 3)
    print(json.dumps({key: value for key, value in result.items() if key != "kept"}))

#!/usr/bin/env python3
"""Writes what TRL's trainers log, by name: trl-names.json, against which `tests/docs.rs` holds our names.

  make_trl_names.py > trl-names.json

Reads the names out of the trainers' source: what they log follows from settings, so no one run logs it all. NAME stands
for the name of a reward function. Needs: pip install trl.
"""
import collections
import importlib.metadata
import importlib.util
import json
import pathlib
import re

TRAINERS = {"sft": "trainer/sft", "reward": "trainer/reward", "dpo": "trainer/dpo", "kto": "trainer/kto",
            "grpo": "trainer/grpo", "rloo": "trainer/rloo", "online_dpo": "experimental/online_dpo/online_dpo"}
# What every trainer logs beside its own: transformers' Trainer names the losses of evaluations by a prefix.
EVERY = ["loss", "grad_norm", "learning_rate", "eval_loss"]
LOGGED = re.compile(r"""(?:_metrics\[(?:mode|"train"|"eval")\]|\bstats)\[f?"([^"]+)"\]""")


def main():
    root = pathlib.Path(importlib.util.find_spec("trl").origin).parent
    names = collections.defaultdict(list, {name: ["every"] for name in EVERY})
    for trainer, path in TRAINERS.items():
        for name in sorted(set(LOGGED.findall((root / f"{path}_trainer.py").read_text()))):
            names[re.sub(r"\{[^}]*\}", "NAME", name)].append(trainer)
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(trainers)}" for name, trainers in sorted(names.items()))
    print(f'{{\n "trl": "{importlib.metadata.version("trl")}",\n "names": {{\n{lines}\n }}\n}}')


main()

#!/usr/bin/env python3
"""Has AlpacaEval itself read an evaluation, and compares its numbers with ours: check_alpaca_eval.py FOLDER

FOLDER is what `rlaif eval --out FOLDER` wrote. AlpacaEval loads responses/ARM.json and annotations.json; wins, losses,
draws and the mean preference by its get_winrate have to be ours. Its length-controlled regression is asked with its
"minimal" formula, which has the two terms that ours has, and without cross-validation: what it would fetch, the gamed
baselines and the instructions' difficulties, is in no term of that and is replaced by zeros. Its penalty is of another
kind than ours and is made as light, so that both may differ by a tenth of a percentage point; by more where contests are
few and length tells almost all of them apart. Where all lengths are equal it has no number.

Needs: pip install alpaca-eval (0.6.6 was used); nothing is fetched and no model is asked.
"""

import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("OPENAI_API_KEY", "not used")
warnings.filterwarnings("ignore")

import pandas as pd
from alpaca_eval import metrics, utils
from alpaca_eval.metrics import glm_winrate

ROUNDING = 1e-6
PENALTY = 0.1
MINIMAL = {**glm_winrate.GLM_INFO["length_controlled_minimal"], "kwargs": {"n_splits": 0, "C": 1e5}}


def check(what, theirs, ours, tolerance=ROUNDING):
    close = abs(theirs - ours) <= tolerance
    print(f"  {'well' if close else 'DIFFERENT'}  {what}: {theirs:.6f} {ours:.6f} (within {tolerance})")
    return close


def main(folder):
    matrix = json.loads((folder / "matrix.json").read_text())["matrix"]
    for arm in matrix["arms"]:
        outputs = utils.load_or_convert_to_dataframe(folder / "responses" / f"{arm}.json")
        assert set(outputs["generator"]) == {arm}, arm
    annotations = utils.load_or_convert_to_dataframe(folder / "annotations.json")
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as zeros:
        rows = {"model": "none", "index": range(len(annotations)), "instruction_difficulty": 0.0}
        pd.DataFrame(rows).to_csv(zeros.name, index=False)
        glm_winrate.hf_hub_download = lambda **_: zeros.name
        return all([pair(head_to_head, annotations) for head_to_head in matrix["head_to_heads"]])


def pair(ours, annotations):
    first, second = ours["first"], ours["second"]
    print(f"{first} against {second}")
    of_pair = (annotations["generator_1"] == first) & (annotations["generator_2"] == second)
    of_pair = annotations[of_pair].reset_index(drop=True)
    # Theirs are those of the second generator.
    theirs = metrics.get_winrate(of_pair)
    passed = [
        check("won by the second", theirs["n_wins"], ours["losses"]),
        check("won by the first", theirs["n_wins_base"], ours["wins"]),
        check("draws", theirs["n_draws"], ours["ties"]),
        check("mean preference, %", theirs["win_rate"], 100 * (1 - ours["preference"])),
    ]
    lengths = of_pair["output_1"].str.len() - of_pair["output_2"].str.len()
    if ours["length_controlled"] and lengths.std() > 0:
        fit = metrics.get_length_controlled_winrate(of_pair, glm_info=MINIMAL, save_weights_dir=None)
        rate = 100 * (1 - ours["length_controlled"]["win_rate"])
        what = "length-controlled, %"
        passed.append(check(what, fit["length_controlled_winrate"], rate, PENALTY))
    return all(passed)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(not main(Path(sys.argv[1])))

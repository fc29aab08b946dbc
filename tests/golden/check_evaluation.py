#!/usr/bin/env python3
"""Computes the numbers of an evaluation again from its verdicts, by NumPy: check_evaluation.py FOLDER

FOLDER is what `rlaif eval --out FOLDER` wrote: annotations.json holds each contest's texts and preference,
matrix.json the numbers that are checked here. Win rates, ties, exact p-values and the length corrections have
to be equal; the bootstrap's ends are compared with a bootstrap of other draws, so they may differ a little.
"""

import json
import sys
from collections import defaultdict
from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np

RIDGE = 1e-3
Z95 = 1.959963984540054
ROUNDING = 1e-9


def p_value(wins, losses):
    """Twice the tail of Binomial(wins + losses, 1/2), in whole numbers."""
    trials, tail = wins + losses, min(wins, losses)
    return float(min(1, Fraction(2 * sum(comb(trials, k) for k in range(tail + 1)), 2**trials)))


def shows_variance(outcomes, term):
    """Whether the fit's residuals say how outcomes vary: not where these are all the same, or the term tells them apart."""
    if np.ptp(outcomes) < ROUNDING:
        return False
    if np.ptp(term) < ROUNDING:
        return abs(term[0]) < ROUNDING
    unwon, unlost = term[outcomes < 1 - ROUNDING], term[outcomes > ROUNDING]
    return unwon.max() > unlost.min() + ROUNDING and unlost.max() > unwon.min() + ROUNDING


def at_zero(outcomes, term):
    """The logistic fit's value where `term` is 0, with its interval, by descent on the loss."""
    x = np.column_stack([np.ones_like(term), term])
    coefficients = np.zeros(2)
    # The loss curves by x'x / 4 and the ridge at most: the inverse makes a safe step (Boehning and Lindsay 1988).
    step = np.linalg.inv(x.T @ x / 4 + RIDGE * np.eye(2))
    for _ in range(1_000_000):
        p = 1 / (1 + np.exp(-x @ coefficients))
        change = step @ (x.T @ (p - outcomes) + RIDGE * coefficients)
        coefficients -= change
        if np.abs(change).max() < 1e-12:
            break
    p = 1 / (1 + np.exp(-x @ coefficients))
    bread = np.linalg.inv(x.T @ (x * (p * (1 - p))[:, None]) + RIDGE * np.eye(2))
    scores = x * (outcomes - p)[:, None]
    sandwich = bread @ scores.T @ scores @ bread * len(term) / (len(term) - 2)
    variance = (sandwich if shows_variance(outcomes, term) else bread)[0, 0]
    theta, half = coefficients[0], Z95 * np.sqrt(variance)
    return [1 / (1 + np.exp(-z)) for z in (theta, theta - half, theta + half)]


def resampled(outcomes, rng):
    draws = rng.integers(0, len(outcomes), (20000, len(outcomes)))
    return np.quantile(outcomes[draws].mean(axis=1), [0.025, 0.975])


def check(what, found, expected, tolerance=1e-7):
    close = np.allclose(found, expected, rtol=0, atol=tolerance)
    print(f"  {'equal' if close else 'DIFFERENT'}  {what}: {np.round(found, 6)} {np.round(expected, 6)}")
    return close


def reading(corrected):
    return [corrected["win_rate"], corrected["interval"]["low"], corrected["interval"]["high"]]


def main(folder):
    contests = defaultdict(list)
    for annotation in json.loads((folder / "annotations.json").read_text()):
        if annotation["preference"] is not None:
            lengths = [len(annotation["output_1"]), len(annotation["output_2"])]
            pair = annotation["generator_1"], annotation["generator_2"]
            contests[pair].append((2 - annotation["preference"], *lengths))
    rng, good = np.random.default_rng(1), True
    for said in json.loads((folder / "matrix.json").read_text())["matrix"]["head_to_heads"]:
        print(f"{said['first']} against {said['second']}")
        preferences, first, second = np.array(contests[said["first"], said["second"]], float).reshape(-1, 3).T
        outcomes = (np.sign(preferences - 0.5) + 1) / 2
        counts = [int((outcomes == outcome).sum()) for outcome in (1, 0, 0.5)]
        good &= check("won, lost, ties", [said[k] for k in ("wins", "losses", "ties")], counts)
        good &= check("p", said["p_value"], p_value(*counts[:2]), 1e-12)
        good &= check("win rate", said["win_rate"]["value"], outcomes.mean(), 1e-12)
        interval = said["win_rate"]["interval"]
        # One contest more or less: percentiles of a discrete distribution jump.
        good &= check("interval", [interval["low"], interval["high"]], resampled(outcomes, rng), 1.01 / len(outcomes))
        whole = (first > 0) & (second > 0)
        ratios = at_zero(outcomes[whole], np.log(first[whole] / second[whole]))
        good &= check("length-corrected", reading(said["length_corrected"]), ratios)
        ratios = at_zero(outcomes[whole], first[whole] / second[whole] - 1)
        good &= check("by the ratio", reading(said["length_corrected_by_ratio"]), ratios)
        ratios = at_zero(1 - outcomes[whole], second[whole] / first[whole] - 1)
        good &= check("the second's", reading(said["second_length_corrected_by_ratio"]), ratios)
        difference = first - second
        # Where all differ by the same, there is nothing to divide by and nothing to correct.
        deviation = difference.std(ddof=1) or np.inf
        controlled = at_zero(preferences, np.tanh(difference / deviation))
        good &= check("length-controlled", reading(said["length_controlled"]), controlled)
    return good


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(not main(Path(sys.argv[1])))

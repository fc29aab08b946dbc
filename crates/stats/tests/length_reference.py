#!/usr/bin/env python3
"""Reference values of the length corrections, by scikit-learn: prints length_reference.json.

    python3 -m venv v && v/bin/pip install scikit-learn && v/bin/python length_reference.py > length_reference.json

The fit is scikit-learn's penalised logistic regression with our ridge (C = 1 / ridge). A preference
between 0 and 1 is two rows whose weights are the preference and its complement. The intervals are
Wald's by NumPy, of White's sandwich: the inverse of the penalised information on both sides of the
scores' squares, times n / (n - 2).
"""

import json

import numpy as np
from sklearn.linear_model import LogisticRegression

RIDGE = 1e-3
Z95 = 1.959963984540054


def fit(term, preference):
    """The win rate where `term` is 0, its interval, and the slope."""
    x = np.column_stack([np.ones_like(term), term])
    rows = np.vstack([x, x])
    outcomes = np.repeat([1, 0], len(term))
    weights = np.concatenate([preference, 1 - preference])
    model = LogisticRegression(C=1 / RIDGE, solver="newton-cholesky", fit_intercept=False, tol=1e-12, max_iter=1000)
    theta, phi = model.fit(rows, outcomes, sample_weight=weights).coef_[0]
    p = 1 / (1 + np.exp(-x @ [theta, phi]))
    bread = np.linalg.inv(x.T @ (x * (p * (1 - p))[:, None]) + RIDGE * np.eye(2))
    scores = x * (preference - p)[:, None]
    sandwich = bread @ scores.T @ scores @ bread * len(term) / (len(term) - 2)
    half = Z95 * np.sqrt(sandwich[0, 0])
    rate = lambda z: 1 / (1 + np.exp(-z))
    return {"win_rate": rate(theta), "low": rate(theta - half), "high": rate(theta + half), "slope": phi}


def case(name, rng, count, effect, soft):
    first = rng.integers(40, 900, count).astype(float)
    second = rng.integers(40, 700, count).astype(float)
    difference = first - second
    odds = 0.3 + effect * np.tanh(difference / difference.std(ddof=1))
    p = 1 / (1 + np.exp(-odds))
    drawn = rng.random(count)
    preference = np.round(np.clip(p + 0.4 * (drawn - 0.5), 0, 1), 3) if soft else (drawn < p).astype(float)
    preference[0] = 0.5
    return {
        "name": name,
        "preferences": preference.tolist(),
        "first_lengths": first.tolist(),
        "second_lengths": second.tolist(),
        "length_corrected": fit(np.log(first / second), preference),
        "length_corrected_by_ratio": fit(first / second - 1, preference),
        "length_controlled": fit(np.tanh(difference / difference.std(ddof=1)), preference),
    }


rng = np.random.default_rng(20240404)
cases = [
    case("hard verdicts, longer wins", rng, 40, 1.2, False),
    case("soft preferences", rng, 25, -0.7, True),
    case("no effect of length", rng, 60, 0.0, False),
]
print(json.dumps(cases, indent=1))

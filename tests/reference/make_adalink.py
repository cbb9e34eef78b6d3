"""Makes `adalink.json`: a ridge head and a soup of links as numpy computes them.

    python tests/reference/make_adalink.py
"""

import json
from pathlib import Path

import numpy as np

random = np.random.default_rng(20260101)


def normal(*shape):
    """Numbers that f32 holds exactly, so that both programs read the same."""
    return random.standard_normal(shape).astype(np.float32).astype(np.float64)


def ridge():
    """W = (lambda I + D Q^T)(lambda I + Q Q^T)^-1 with a weight for each pair."""
    queries, answers = normal(9, 7), normal(9, 7)
    weights = np.array([[0.5, 1.0, 2.0, 1.0, 1.0, 0.25, 1.0, 4.0, 1.0]])
    weighted = queries * weights.T
    a = 0.5 * np.eye(7) + weighted.T @ queries
    b = 0.5 * np.eye(7) + answers.T @ weighted
    w = b @ np.linalg.inv(a)
    names = {"queries": queries, "answers": answers, "weights": weights, "w": w}
    return {"lambda": 0.5} | {name: value.tolist() for name, value in names.items()}


def soup():
    """The matrix of rank 2 that is nearest to the mean of two products."""
    links = [(normal(8, 2), normal(8, 2)) for _ in range(2)]
    mean = sum(u @ v.T for u, v in links) / 2
    left, singular, right = np.linalg.svd(mean)
    nearest = left[:, :2] * singular[:2] @ right[:2]
    return {
        "links": [{"u": u.tolist(), "v": v.tolist()} for u, v in links],
        "nearest": nearest.tolist(),
    }


path = Path(__file__).with_name("adalink.json")
path.write_text(json.dumps({"ridge": ridge(), "soup": soup()}, indent=1) + "\n")

"""Makes `learners.json`: what scikit-learn learns on top of vectors, and its measures of classes.

`logistic`: examples, and the classifier at the minimum (`tol` 1e-12): `weights` and `intercepts` of each
class (intercepts are unique but for a shift: they are given with mean 0), and the classes it finds for
`test`. `kmeans`: vectors, first centres and the clusters after Lloyd's steps; the last case has a
centre that no vector is nearest to. `classes`: true and found classes with accuracy, macro F1 and
V-measure.

    python tests/reference/make_learners.py
"""

import json
import warnings
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, v_measure_score

HERE = Path(__file__).parent


def around(rng, n_classes, n_each, dims, noise):
    """Unit vectors around a random direction for each class, exact in f32."""
    centres = rng.normal(size=(n_classes, dims))
    classes = np.repeat(np.arange(n_classes), n_each)
    rows = centres[classes] + noise * rng.normal(size=(len(classes), dims))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    order = rng.permutation(len(classes))
    return (np.round(rows * 4096) / 4096)[order], classes[order]


def logistic(rng, n_classes, n_each, dims, noise, uneven=False):
    rows, classes = around(rng, n_classes, 2 * n_each, dims, noise)
    n = len(rows) // 2
    test, train, known = rows[n:], rows[:n], classes[:n]
    if uneven:  # one class has a single example
        keep = known != 0
        keep[np.flatnonzero(~keep)[0]] = True
        train, known = train[keep], known[keep]
    assert len(set(known)) == n_classes
    model = LogisticRegression(tol=1e-12, max_iter=100_000).fit(train, known)
    weights, intercepts = model.coef_, model.intercept_
    return {"train": train.tolist(), "classes": known.tolist(),
            "weights": weights.tolist(), "intercepts": (intercepts - intercepts.mean()).tolist(),
            "test": test.tolist(), "found": model.predict(test).tolist()}


def kmeans(rows, centres):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = KMeans(len(centres), init=centres, n_init=1, tol=0, max_iter=300).fit(rows)
    return {"vectors": rows.tolist(), "centres": centres.tolist(),
            "clusters": model.labels_.tolist()}


def measures(true, found):
    return {"true": [int(x) for x in true], "found": [int(x) for x in found],
            "accuracy": float(accuracy_score(true, found)),
            "macro_f1": float(f1_score(true, found, average="macro", zero_division=0)),
            "v_measure": float(v_measure_score(true, found))}


def main():
    rng = np.random.default_rng(30)
    classifiers = [logistic(rng, 3, 12, 5, 0.7), logistic(rng, 8, 8, 16, 1.0),
                   logistic(rng, 4, 10, 3, 1.5, uneven=True)]
    clusterings = []
    for n_classes, n_each, dims, noise in [(3, 20, 4, 0.5), (6, 15, 8, 1.0), (5, 12, 3, 2.0)]:
        rows, _ = around(rng, n_classes, n_each, dims, noise)
        clusterings.append(kmeans(rows, rows[rng.choice(len(rows), n_classes, replace=False)]))
    rows, _ = around(rng, 4, 15, 6, 0.6)
    centres = rows[rng.choice(len(rows), 4, replace=False)]
    centres[2] = 50.0  # far from everything: its cluster is empty at first
    clusterings.append(kmeans(rows, centres))
    draws = [(rng.integers(0, k, n), rng.integers(0, m, n)) for k, m, n in
             [(3, 3, 40), (10, 10, 100), (2, 7, 30), (5, 2, 60)]]
    true = rng.integers(0, 6, 120)
    draws.append((true, np.where(rng.random(120) < 0.7, true, rng.integers(0, 6, 120))))
    draws.append((true, 5 - true))  # the same clusters under other numbers
    draws.append((true, np.zeros(120, int)))
    draws.append((np.zeros(9, int), np.arange(9)))
    draws.append((np.zeros(4, int), np.zeros(4, int)))
    parts = [f'"{key}": [\n' + ",\n".join(map(json.dumps, entries)) + "\n]" for key, entries in [
        ("logistic", classifiers), ("kmeans", clusterings),
        ("classes", [measures(*draw) for draw in draws])]]
    (HERE / "learners.json").write_text("{" + ",\n".join(parts) + "}\n")
    for entry in classifiers:
        print(len(entry["train"]), np.abs(entry["weights"]).max())


if __name__ == "__main__":
    main()

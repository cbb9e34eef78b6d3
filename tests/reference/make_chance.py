"""Makes `chance.json`: bootstrap intervals and paired permutation tests as scipy computes them.

`intervals`: percentile intervals of 95 % of a mean. `low` and `high` are the medians of 40 runs of
20,000 resamples each, `spread` the largest distance of a bound of a run from its median: what another
generator may differ by. `tests`: two-sided p of scipy's `permutation_test` with paired samples
(`permutation_type="samples"`), exact where there are at most 16 pairs, else of 100,000 rounds.

    python tests/reference/make_chance.py
"""

import json
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap, permutation_test

HERE = Path(__file__).parent


def interval(values, seed):
    bounds = []
    for run in range(40):
        rng = np.random.default_rng([seed, run])
        found = bootstrap((values,), np.mean, n_resamples=20_000, confidence_level=0.95,
                          method="percentile", batch=500, rng=rng).confidence_interval
        bounds.append([found.low, found.high])
    bounds = np.array(bounds)
    middle = np.median(bounds, axis=0)
    return {"values": values.tolist(), "low": float(middle[0]), "high": float(middle[1]),
            "spread": float(np.abs(bounds - middle).max())}


def test(a, b, seed):
    n_rounds = np.inf if len(a) <= 16 else 100_000
    found = permutation_test((a, b), lambda x, y, axis: np.mean(x - y, axis=axis), vectorized=True,
                             permutation_type="samples", alternative="two-sided",
                             n_resamples=n_rounds, batch=1000, rng=np.random.default_rng(seed))
    return {"a": a.tolist(), "b": b.tolist(), "p": float(found.pvalue)}


def main():
    rng = np.random.default_rng(20)
    ndcg = lambda n: np.round(np.clip(rng.normal(0.5, 0.4, n), 0, 1), 4)
    intervals = [interval(values, seed) for seed, values in enumerate([
        ndcg(30), ndcg(200), ndcg(500), (rng.random(100) < 0.1).astype(float),
        np.round(rng.exponential(size=50), 4), np.array([0.0, 1.0, 1.0, 0.5, 0.25, 1.0, 0.0, 0.4])])]
    tests = []
    for n, shift, noise in [(5, 0.1, 0.1), (8, 0, 0.2), (12, 0.05, 0.1), (16, 0.1, 0.1),
                            (40, 0, 0.2), (100, 0.02, 0.1), (300, 0.01, 0.1), (300, -0.02, 0.1)]:
        a = ndcg(n)
        b = np.round(np.clip(a + rng.normal(shift, noise, n), 0, 1), 4)
        tests.append(test(a, b, n))
    parts = ['{"intervals": [\n' + ",\n".join(map(json.dumps, intervals)) + "\n]",
             '"tests": [\n' + ",\n".join(map(json.dumps, tests)) + "\n]}\n"]
    (HERE / "chance.json").write_text(",\n".join(parts))
    for entry in intervals:
        print({key: value for key, value in entry.items() if key != "values"})
    print([entry["p"] for entry in tests])


if __name__ == "__main__":
    main()

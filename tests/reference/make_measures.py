"""Makes `measures.json`: rankings with the measures that trec_eval gives them, and correlations.

Rankings are drawn at random so that they have what real ones rarely show: equal scores, equal
relevance, fewer than ten results, nothing relevant found, nothing relevant at all, judgements of 0
and below, ids whose order as text is not their order as numbers. Rankings are written in random
order: sorting them (by score, equal scores by id, both descending) is part of the measure.

A query that is missing from the run has a ranking of null, one without judgements has null for
`relevant`; trec_eval leaves both out of its means, and their measures are null.

    python tests/reference/make_measures.py
"""

import json
from pathlib import Path

import numpy as np
import pytrec_eval
from scipy.stats import spearmanr

HERE = Path(__file__).parent
MEASURES = {"ndcg_cut_10", "recall_10", "recall_100", "recip_rank"}


def ranking(rng, n_results, n_documents, step):
    """Document ids with scores that are multiples of `step`, exact in f32; 0 for all distinct."""
    ids = rng.choice(n_documents, n_results, replace=False)
    if step:
        scores = np.round(rng.uniform(-1, 1, n_results) / step) * step
    else:
        scores = (rng.permutation(n_results) - n_results // 3) / 128
    return {f"d{i}": float(score) for i, score in zip(ids, scores)}


def judgements(rng, n, n_documents, grades):
    ids = rng.choice(n_documents, min(n, n_documents), replace=False)
    return {f"d{i}": int(rng.choice(grades)) for i in ids}


def queries(rng):
    """(ranking or None, judgements or None) of each query."""
    out = []
    for step in (0, 0.25, 0.5, 2):
        for n_results in (3, 10, 11, 40, 130):
            n_documents = 160 if n_results > 40 else 60
            out.append((ranking(rng, n_results, n_documents, step),
                        judgements(rng, int(rng.integers(1, 25)), n_documents, [0, 1, 2, 3])))
    for n_relevant in (1, 2, 12, 40):  # one grade, as in most sets
        out.append((ranking(rng, 50, 60, 0), judgements(rng, n_relevant, 60, [1])))
        out.append((ranking(rng, 50, 60, 0.125), judgements(rng, n_relevant, 60, [1])))
    ten = {f"d{i}": 1 - i / 16 for i in range(10)}
    out += [
        (ten, {"x1": 1, "x2": 2}),  # nothing relevant found
        (ten, {"d1": 0, "d2": 0}),  # nothing relevant at all
        (ten, {"d0": -1, "d1": 2, "d2": -2, "d3": 1}),  # below zero
        (ten, {"d9": 1}),  # the last place that counts
        ({f"d{i}": 1 - i / 16 for i in range(11)}, {"d10": 1}),  # the first that does not
        ({"d0": 0.5}, {"d0": 3}),
        ({"d0": 0.5}, {"d1": 3}),
        ({"d2": 0.5, "d10": 0.5, "d1": 0.5}, {"d10": 2, "d1": 1}),  # equal: d2, d10, d1
        ({"d": 0.5, "D": 0.5, "\u00e9": 0.5, "d\u00e9": 0.5, "~": 0.5}, {"D": 1, "\u00e9": 3}),
        ({f"d{i}": 0.5 for i in range(30)}, {f"d{i}": i % 4 for i in range(0, 30, 3)}),
        ({}, {"d1": 1}),  # answered with nothing
        (None, {"d1": 1}),  # missing from the run
        (ten, None),  # without judgements
    ]
    return out


def cut(run, k):
    """The first k of a ranking by trec_eval's order: ids are compared as bytes."""
    order = sorted(run.items(), key=lambda item: (item[1], item[0].encode()), reverse=True)
    return dict(order[:k])


def evaluate(all_queries):
    names = [f"q{i}" for i in range(len(all_queries))]
    named = list(zip(names, all_queries))
    qrels = {name: relevant for name, (_, relevant) in named if relevant is not None}
    run = {name: found for name, (found, _) in named if found is not None}
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, MEASURES)
    whole = evaluator.evaluate(run)
    first = evaluator.evaluate({name: cut(found, 10) for name, found in run.items()})
    for name in whole:  # cutting by our order must be what trec_eval's own cut does
        assert whole[name]["ndcg_cut_10"] == first[name]["ndcg_cut_10"], name
    values = {}
    for name in whole:
        keys = {"ndcg_10": "ndcg_cut_10", "recall_10": "recall_10", "recall_100": "recall_100"}
        values[name] = {ours: whole[name][theirs] for ours, theirs in keys.items()}
        values[name]["mrr_10"] = first[name]["recip_rank"]
    return named, values


def correlations(rng):
    draws = [rng.normal(size=(2, 25)), np.round(rng.normal(size=(2, 60)) * 2) / 2]
    base = np.round(rng.uniform(0, 5, 80) * 4) / 4
    draws.append(np.stack([base, np.round((base / 5 + rng.normal(0, 0.2, 80)) * 64) / 64]))
    draws.append(np.stack([base, -base]))
    draws.append(np.array([[1.0, 1, 1, 2], [4.0, 3, 2, 1]]))
    draws.append(np.array([[1.0, 2], [1.0, 2]]))
    draws.append(np.array([[1.0, 1, 1], [4.0, 3, 2]]))  # constant: no correlation
    out = []
    for x, y in draws:
        rho = float(spearmanr(x, y).statistic)
        out.append({"x": x.tolist(), "y": y.tolist(), "rho": None if np.isnan(rho) else rho})
    return out


def main():
    rng = np.random.default_rng(10)
    named, values = evaluate(queries(rng))
    lines = []
    for name, (found, relevant) in named:
        shuffled = None
        if found is not None:
            items = list(found.items())
            shuffled = [list(items[i]) for i in rng.permutation(len(items))]
        lines.append(json.dumps({"query": name, "ranking": shuffled, "relevant": relevant,
                                 "measures": values.get(name)}))
    keys = ["ndcg_10", "recall_10", "recall_100", "mrr_10"]
    means = {key: float(np.mean([value[key] for value in values.values()])) for key in keys}
    spearman = [json.dumps(entry) for entry in correlations(rng)]
    parts = [
        '{"queries": [\n' + ",\n".join(lines) + "\n]",
        f'"n_evaluated": {len(values)}',
        f'"means": {json.dumps(means)}',
        '"spearman": [\n' + ",\n".join(spearman) + "\n]}\n",
    ]
    (HERE / "measures.json").write_text(",\n".join(parts))
    print(f"{len(named)} queries, {len(values)} evaluated, means {means}")


if __name__ == "__main__":
    main()

"""Compares search by dot product and by Euclidean distance with hnswlib's, on made rows, side by side in one run on one thread.

    python metric.py --gemmule PATH [--rows 50000] [--queries 1000] [--metrics l2,dot] [--spread 10]

l2: clusters of whole numbers in 0..255, as SIFT descriptors are, width 128. dot: clusters whose rows have lengths spread over a factor of ten
(--spread), queries from the same clusters. Both engines have M 16 and efConstruction 200 and sweep ef; recall is against an exact scan in f64.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import hnswlib
import numpy as np

WIDTH, CLUSTERS, K, LEAST_S = 128, 500, 10, 2.0
EFS = (16, 24, 32, 48, 64, 96, 128, 192, 256)


def make(metric: str, n: int, spread: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((CLUSTERS, WIDTH))
    rows = centres[random.integers(CLUSTERS, size=n)] + 0.7 * random.standard_normal((n, WIDTH))
    if metric == "l2":
        return np.clip(np.round(40 + 35 * rows), 0, 255).astype(np.float32)
    return (rows * spread ** random.random((n, 1))).astype(np.float32)


def right(metric: str, rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    wide, answers = rows.astype(np.float64), []
    squares = (wide * wide).sum(1)
    for query in queries.astype(np.float64):
        scores = wide @ query if metric == "dot" else wide @ query - squares / 2
        answers.append(np.argpartition(-scores, K)[:K])
    return np.array(answers)


def rival(metric: str, rows: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> None:
    index = hnswlib.Index(space={"dot": "ip", "l2": "l2"}[metric], dim=WIDTH)
    index.init_index(max_elements=len(rows), M=16, ef_construction=200, random_seed=1)
    index.set_num_threads(1)
    began = time.perf_counter()
    index.add_items(rows)
    print(f"hnswlib built in {time.perf_counter() - began:.1f} s")
    for ef in EFS:
        index.set_ef(ef)
        found = np.array([index.knn_query(query, K)[0][0] for query in queries])
        recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(found, truth)])
        n, began = 0, time.perf_counter()
        while time.perf_counter() - began < LEAST_S:
            index.knn_query(queries, K)  # all at once, so that no time goes to Python
            n += len(queries)
        print(f"  hnswlib  ef {ef:>4}  recall {recall:.4f}  {n / (time.perf_counter() - began):>8,.0f} queries/s")


def ours(metric: str, gemmule: str, base: Path, asked: Path) -> None:
    command = [gemmule, "bench", "search", "--base", base, "--queries", asked, "--metric", metric, "--threads", "1", "--json"]
    told = json.loads(subprocess.run([*command, "--ef", ",".join(map(str, EFS))], check=True, capture_output=True).stdout)
    print(f"Gemmule built in {told['build_s']:.1f} s")
    for point in told["points"]:
        print(f"  Gemmule  ef {point['ef']:>4}  recall {point['recall10']:.4f}  {point['qps']:>8,.0f} queries/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gemmule", required=True)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--metrics", default="l2,dot")
    parser.add_argument("--spread", type=float, default=10.0)
    args = parser.parse_args()
    for metric in args.metrics.split(","):
        print(f"{metric}: {args.rows:,} rows of width {WIDTH}, {args.queries:,} queries")
        rows, queries = make(metric, args.rows, args.spread, 2), make(metric, args.queries, 1.0, 3)
        with tempfile.TemporaryDirectory() as folder:
            base, asked = Path(folder) / "base.npy", Path(folder) / "asked.npy"
            np.save(base, rows)
            np.save(asked, queries)
            ours(metric, args.gemmule, base, asked)
        rival(metric, rows, queries, right(metric, rows, queries))


if __name__ == "__main__":
    main()

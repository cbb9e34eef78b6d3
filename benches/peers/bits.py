"""What codes of a bit a number lose, in numpy: of each query's ten closest rows, the share among the best 50, 100, 192 and 384 by estimate.

    python bits.py ROWS.npy QUERIES.npy [--dims 384,256]

Rows and queries are those of `gemmule embed --format npy`. `index/src/binary.rs` is the line "turned, 4 bits", but for its rotation, which is
cheaper than this one.
"""

import argparse

import numpy as np

DEPTHS = (50, 100, 192, 384)


def unit(rows: np.ndarray, dims: int) -> np.ndarray:
    cut = rows[:, :dims].astype(np.float32)
    return cut / np.linalg.norm(cut, axis=1, keepdims=True)


def estimate(rows: np.ndarray, queries: np.ndarray, mean: np.ndarray, level_max: int | None) -> np.ndarray:
    rest, asked = rows - mean, queries - mean
    factor = (rest * rest).sum(1) / np.abs(rest).sum(1)
    if level_max:
        step = np.abs(asked).max(1, keepdims=True) / level_max
        asked = np.round(asked / step) * step
    signs = np.where(rest > 0, 1, -1).astype(np.float32)
    return (queries @ mean)[:, None] + (rest @ mean)[None] + (asked @ signs.T) * factor[None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows")
    parser.add_argument("queries")
    parser.add_argument("--dims", default="384,256")
    flags = parser.parse_args()
    full, asked = np.load(flags.rows), np.load(flags.queries)
    truth = np.argsort(-(asked @ full.T), axis=1)[:, :10]

    def say(name: str, scores: np.ndarray) -> None:
        order = np.argsort(-scores, axis=1)
        shares = [np.mean([np.isin(t, o).mean() for t, o in zip(truth, order[:, :depth])]) for depth in DEPTHS]
        print(f"{dims:>4}  {name:<16}", *(f"{share:.4f}" for share in shares))

    print("dims  best of", " " * 8, *(f"{depth:<6}" for depth in DEPTHS))
    for dims in map(int, flags.dims.split(",")):
        rows, queries = unit(full, dims), unit(asked, dims)
        mean = rows.mean(0)
        say("equal signs", np.sign(queries - mean) @ np.sign(rows - mean).T)
        say("unturned", estimate(rows, queries, mean, None))
        say("unturned, 4 bits", estimate(rows, queries, mean, 7))
        turn = np.linalg.qr(np.random.default_rng(1).normal(size=(dims, dims)))[0].astype(np.float32)
        rows, queries, mean = rows @ turn, queries @ turn, mean @ turn
        say("turned", estimate(rows, queries, mean, None))
        say("turned, 4 bits", estimate(rows, queries, mean, 7))


if __name__ == "__main__":
    main()

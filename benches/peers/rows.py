"""Rows of vectors on disk, read in blocks, and what the exact answer over them is. Shared by search.py and make_rows.py."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import numpy as np

K = 10  # answers a query
BLOCK = 10_000  # rows in memory at a time
DEPTH = 50  # exact answers kept a query, so that rows that tie with the last of the K are among them
TIE = 1e-6  # inner products of unit vectors in f32 that differ by less are one


@dataclass
class Rows:
    """A float32 npy file [count, width]. It is read, never mapped, so that a reader's memory holds one block of it and no more."""

    path: Path

    def __post_init__(self):
        mapped = np.load(self.path, mmap_mode="r")
        if mapped.dtype != np.float32 or mapped.ndim != 2:
            raise ValueError(f"{self.path}: expected a matrix of float32, found {mapped.dtype} {mapped.shape}")
        (self.count, self.width), self._start = mapped.shape, mapped.offset

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """The number of a block's first row, and the block [<= BLOCK, width]."""
        with open(self.path, "rb") as file:
            file.seek(self._start)
            for first in range(0, self.count, BLOCK):
                n = min(BLOCK, self.count - first)
                yield first, np.fromfile(file, np.float32, n * self.width).reshape(n, self.width)


def key(*parts) -> str:
    """A name for what was made from `parts`. A path stands for its name, size and time of change."""
    stats = [(part.name, part.stat().st_size, part.stat().st_mtime_ns) if isinstance(part, Path) else part for part in parts]
    return hashlib.sha256(repr(stats).encode()).hexdigest()[:12]


def shuffled(source: Path, count: int | None, seed: int, work: Path) -> Rows:
    """`count` rows of `source` (float32 or float16) in a seeded random order, as float32 in `work`; made once.

    A graph built in the order of the source would meet the topics one after another, which suits some engines and not others.
    """
    rows = np.load(source, mmap_mode="r")
    count = min(count or len(rows), len(rows))
    path = work / f"rows-{key(source, count, seed)}.npy"
    if not path.exists():
        order = np.random.default_rng(seed).permutation(len(rows))[:count]
        unfinished = path.with_suffix(".part")
        out = np.lib.format.open_memmap(unfinished, "w+", np.float32, (count, rows.shape[1]))
        for first in range(0, count, BLOCK):
            out[first : first + BLOCK] = rows[order[first : first + BLOCK]]
        out.flush()
        unfinished.rename(path)
    return Rows(path)


def exact(rows: Rows, queries: np.ndarray, keep: np.ndarray | None = None) -> np.ndarray:
    """The right answers, [queries, DEPTH] row numbers: those whose inner product reaches the K-th highest, ties included; then -1.

    keep: [rows.count] of bool, the rows that may be answers.
    """
    scores, numbers = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for first, block in rows.blocks():
        kept = np.arange(len(block)) if keep is None else np.flatnonzero(keep[first : first + len(block)])
        scores = np.hstack([scores, queries @ block[kept].T])
        numbers = np.hstack([numbers, np.broadcast_to(first + kept, (len(queries), len(kept)))])
        if scores.shape[1] > DEPTH:
            best = np.argpartition(scores, -DEPTH, axis=1)[:, -DEPTH:]
            scores, numbers = np.take_along_axis(scores, best, 1), np.take_along_axis(numbers, best, 1)
    least = np.sort(scores, axis=1)[:, -min(K, scores.shape[1]), None] - TIE
    right = np.full((len(queries), DEPTH), -1)
    right[:, : scores.shape[1]] = np.where(scores >= least, numbers, -1)
    return right


def recall(found: np.ndarray, right: np.ndarray) -> float:
    """The mean share of the K right answers (fewer, if fewer rows pass a filter) that `found` [queries, K] has; -1 is no row."""
    shares = []
    for of_query, wanted in zip(found, right):
        wanted = set(wanted.tolist()) - {-1}
        possible = min(K, len(wanted))
        shares.append(min(len(wanted.intersection(of_query.tolist())), possible) / possible)
    return float(np.mean(shares))

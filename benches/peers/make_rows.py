"""Writes seeded synthetic rows, and queries for them, that are about as hard to search as rows of a real embedding model.

    python make_rows.py write OUT.npy --rows 1000000 [--queries 2000] [--float16] [--seed 0]
    python make_rows.py check --real ROWS.npy --real-queries QUERIES.npy [--rows 20000]

A row is a topic, a subtopic of it, a point in a space of few dimensions, and noise; then each part of the width is scaled so that the first
512, 256 and 128 of the 768 numbers hold 0.72, 0.42 and 0.26 of the energy, as EmbeddingGemma's do. Queries (OUT.queries.npy) are further rows
with more noise. The shares were chosen so that hnswlib recalls what it does on real rows; `check` measures both. The same seed gives the same
rows, and fewer of them are the first of more. They know nothing about language: never use them to judge retrieval.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from rows import BLOCK, Rows, exact, recall, shuffled

WIDTH = 768
ENERGY = {128: 0.26, 256: 0.42, 512: 0.72, 768: 1.0}  # of the numbers up to each width
TOPICS, SUBTOPICS, FREE = 256, 16_384, 32  # how many, and the dimensions of the space of few
TOPIC, SUBTOPIC, PLACE, NOISE = 0.20, 0.30, 0.40, 0.10  # shares of a row's energy
QUERY_NOISE = 0.15  # added to a query
CHECK_EF, CHECK_TOLERANCE = 64, 0.03


class Source:
    """The distribution that rows and queries are drawn from."""

    def __init__(self, seed: int):
        self.seed = seed
        random = np.random.default_rng([seed, 0])

        def normal(*shape):
            return random.standard_normal(shape, dtype=np.float32)

        self.topics, self.subtopics, self.free = normal(TOPICS, WIDTH), normal(SUBTOPICS, WIDTH), normal(FREE, WIDTH) / np.float32(FREE**0.5)
        self.topic_of = random.integers(TOPICS, size=SUBTOPICS)
        weights = 1 / np.arange(1, SUBTOPICS + 1) ** 0.5  # some subtopics are much larger than others
        self.weights = weights / weights.sum()
        widths, energies = np.array([0, *ENERGY]), np.array([0, *ENERGY.values()])
        self.scale = np.repeat(np.sqrt(np.diff(energies) / np.diff(widths)), np.diff(widths)).astype(np.float32)

    def block(self, stream: int, number: int, count: int, extra_noise: float = 0) -> np.ndarray:
        """[count, WIDTH] of unit length. The first rows of a block do not depend on how many are asked for."""
        random = np.random.default_rng([self.seed, stream, number])
        subtopic = random.choice(SUBTOPICS, BLOCK, p=self.weights)[:count]
        place = random.standard_normal((BLOCK, FREE), dtype=np.float32)[:count]
        noise = random.standard_normal((count, WIDTH), dtype=np.float32)
        rows = TOPIC**0.5 * self.topics[self.topic_of[subtopic]] + SUBTOPIC**0.5 * self.subtopics[subtopic]
        rows += PLACE**0.5 * (place @ self.free) + (NOISE + extra_noise) ** 0.5 * noise
        rows *= self.scale
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def queries_path(out: Path) -> Path:
    return out.with_suffix(".queries.npy")


def write(out: Path, count: int, queries: int, dtype, seed: int) -> None:
    source = Source(seed)
    for stream, (path, n, extra_noise) in enumerate([(out, count, 0), (queries_path(out), queries, QUERY_NOISE)], 1):
        file = np.lib.format.open_memmap(path, "w+", dtype, (n, WIDTH))
        for number, first in enumerate(range(0, n, BLOCK)):
            file[first : first + BLOCK] = source.block(stream, number, min(BLOCK, n - first), extra_noise)
        file.flush()


def hnswlib_recall(rows: Rows, queries: np.ndarray, threads: int = 2) -> float:
    from indexes import Hnswlib

    index = Hnswlib()
    index.build(rows, {}, Path(), threads)
    return recall(index.search(queries, CHECK_EF, threads), exact(rows, queries))


def check(real: Path, real_queries: Path, count: int, seed: int) -> bool:
    with tempfile.TemporaryDirectory() as work:
        made = Path(work) / "made.npy"
        real_rows = shuffled(real, count, seed, Path(work))
        asked = np.load(real_queries).astype(np.float32)
        write(made, real_rows.count, len(asked), np.float32, seed)
        energies = np.mean([np.cumsum(block**2, axis=1).mean(0) for _, block in Rows(made).blocks()], axis=0)
        recalls = hnswlib_recall(real_rows, asked), hnswlib_recall(Rows(made), np.load(queries_path(made)))
    print("energy of the prefixes: " + ", ".join(f"{width}: {energies[width - 1]:.3f} (wanted {ENERGY[width]})" for width in ENERGY))
    print(f"hnswlib, recall@10 at ef {CHECK_EF}, {real_rows.count:,} rows: real {recalls[0]:.4f}, made {recalls[1]:.4f}")
    return abs(recalls[0] - recalls[1]) <= CHECK_TOLERANCE and all(abs(energies[width - 1] - ENERGY[width]) < 0.01 for width in ENERGY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write")
    writing.add_argument("out", type=Path)
    writing.add_argument("--rows", type=int, required=True)
    writing.add_argument("--queries", type=int, default=2000)
    writing.add_argument("--float16", action="store_true", help="half the file")
    checking = commands.add_parser("check", help="exit status 1 if the recalls differ by more than 0.03")
    checking.add_argument("--real", type=Path, required=True)
    checking.add_argument("--real-queries", type=Path, help="queries.npy beside the real rows if absent")
    checking.add_argument("--rows", type=int, default=20_000)
    for command in (writing, checking):
        command.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.command == "write":
        write(args.out, args.rows, args.queries, np.float16 if args.float16 else np.float32, args.seed)
    else:
        sys.exit(0 if check(args.real, args.real_queries or args.real.with_name("queries.npy"), args.rows, args.seed) else 1)


if __name__ == "__main__":
    main()

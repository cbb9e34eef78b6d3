"""Makes rows and queries to search from folders of text: every distinct text of the pairs is a row.

    python embed_rows.py PAIRS OUT --gemmule PATH [--model M] [--queries 2000] [--seed 7]

PAIRS holds .jsonl.gz files of objects whose fields query, anchor, positive and negative are texts. Queries are texts of the first two
fields, drawn by the seed and kept out of the rows.
Writes OUT/rows.npy and OUT/queries.npy, float32 of unit length, and the texts of both, a line each.
"""

import argparse
import gzip
import json
import random as shuffler
import subprocess
from pathlib import Path
from typing import Iterator

ASKING, ANSWERING = ("query", "anchor"), ("positive", "negative")


def objects(path: Path) -> Iterator[dict]:
    with gzip.open(path, "rt") as lines:
        yield from map(json.loads, lines)


def distinct(paths: list[Path], fields: tuple[str, ...]) -> dict[str, None]:
    """The texts of `fields` in the order of their first appearance, white space made single so that each is a line."""
    texts = (" ".join(made[field].split()) for path in sorted(paths) for made in objects(path) for field in fields if isinstance(made.get(field), str))
    return {text: None for text in texts if text}


def embed(texts: list[str], task: str, out: Path, args) -> None:
    lines = out.with_suffix(".txt")
    lines.write_text("".join(f"{text}\n" for text in texts))
    flags = ["--model", args.model, "--task", task, "--format", "npy", "--truncate", "-o", out]
    with open(lines) as file:
        subprocess.run([str(word) for word in (args.gemmule, "embed", *flags)], stdin=file, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--gemmule", type=Path, required=True, help="the gemmule binary")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    pairs = list(args.pairs.glob("*.jsonl.gz"))
    texts = distinct(pairs, (*ASKING, *ANSWERING))
    asked = list(distinct(pairs, ASKING))
    shuffler.Random(args.seed).shuffle(asked)
    asked = asked[: args.queries]
    for text in asked:
        del texts[text]
    print(f"{len(texts):,} distinct texts, {len(asked):,} queries")
    args.out.mkdir(parents=True, exist_ok=True)
    embed(list(texts), "document", args.out / "rows.npy", args)
    embed(asked, "query", args.out / "queries.npy", args)


if __name__ == "__main__":
    main()

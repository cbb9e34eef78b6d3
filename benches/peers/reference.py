"""Writes reference vectors: what transformers computes in f32 for seeded random token ids, through pooling, both dense layers and L2.

    python reference.py MODEL OUT.json

Each sequence goes through alone, without padding. OUT.json: {"versions", "cases": [{"name", "ids", "vector"}]}.
"""

import argparse
import json
from pathlib import Path

import numpy as np

# torch and what needs it are imported where they are used: embed.py takes ids from here in processes whose memory it measures.

BOS, EOS, FIRST_PLAIN_ID = 2, 1, 5  # smaller ids are special
LENGTHS = (16, 257, 258, 700, 2048)  # 257 tokens are the most that the sliding window of 512 leaves whole
MIXED = 64


def random_ids(random: np.random.Generator, length: int, vocabulary: int) -> list[int]:
    """`length` ids, the first and last of them <bos> and <eos>; a single one is <bos>."""
    if length == 1:
        return [BOS]
    return [BOS, *random.integers(FIRST_PLAIN_ID, vocabulary, length - 2).tolist(), EOS]


def vocabulary(model: Path) -> int:
    return json.loads((model / "config.json").read_text())["vocab_size"]


def load(model: Path, attention: str = "sdpa"):
    """The SentenceTransformer of a folder, in f32 on the CPU."""
    import sentence_transformers
    import torch

    kwargs = {"attn_implementation": attention, "dtype": torch.float32}
    return sentence_transformers.SentenceTransformer(str(model), device="cpu", model_kwargs=kwargs, local_files_only=True)


def embed(model, ids: list[int]) -> np.ndarray:
    """The unit vector of one sequence, without padding."""
    import torch

    tokens = torch.tensor([ids])
    with torch.inference_mode():
        return model({"input_ids": tokens, "attention_mask": torch.ones_like(tokens)})["sentence_embedding"][0].float().numpy()


def main() -> None:
    import sentence_transformers
    import torch
    import transformers

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--attention", choices=("sdpa", "eager"), default="sdpa")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(2)
    size = vocabulary(args.model)
    random = np.random.default_rng(args.seed)
    model = load(args.model, args.attention)
    lengths = [(f"length-{n}", n) for n in (1, *LENGTHS)]
    lengths += [(f"mixed-{i:02}", int(n)) for i, n in enumerate(random.integers(3, 601, MIXED))]
    cases = []
    for name, length in lengths:
        ids = random_ids(random, length, size)
        vector = embed(model, ids)
        cases.append({"name": name, "ids": ids, "vector": [float(f"{x:.9g}") for x in vector]})  # 9 digits give back each f32
    versions = {m.__name__: m.__version__ for m in (torch, transformers, sentence_transformers)}
    args.out.write_text(json.dumps({"versions": versions, "attention": args.attention, "seed": args.seed, "cases": cases}) + "\n")


if __name__ == "__main__":
    main()

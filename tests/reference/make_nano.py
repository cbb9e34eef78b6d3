"""Makes the reference values of the built-in model from `nano_texts.json`.

Runs a sentence-transformers folder in f32 over the texts, one at a time, and writes

    nano.json          the text as it was encoded, prompt and title included, and its token ids
    nano.safetensors   `vectors` [n_texts, full width], unit length

Narrower vectors are cut from these and made unit length again, so they are not stored.

    gemmule model convert nano FOLDER
    python tests/reference/make_nano.py FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from transformers.utils import logging

HERE = Path(__file__).parent


def encoded(entry, prompts):
    """Prompt, title and text as one string.

    A title takes the place of `none` in a document prompt, its white space folded to single
    spaces; an empty one counts as none.
    """
    prompt = prompts[entry["prompt"]] if entry["prompt"] else ""
    title = " ".join(entry.get("title", "").split())
    if title:
        prompt = prompt.replace("title: none |", f"title: {title} |", 1)
    return prompt + entry["text"]


def main(folder):
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    entries = json.loads((HERE / "nano_texts.json").read_text())
    arguments = {"attn_implementation": "eager", "dtype": torch.float32}
    model = SentenceTransformer(folder, device="cpu", model_kwargs=arguments).float().eval()
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    rows, vectors = [], []
    for entry in entries:
        text = encoded(entry, model.prompts)
        ids = model.tokenizer([text], truncation=True)["input_ids"][0]
        # Two ways to the ids, and two to the vector: they must agree.
        assert ids == tokenizer.encode(text).ids, text
        vector = model.encode([text], convert_to_numpy=True)[0]
        features = {"input_ids": torch.tensor([ids])}
        features["attention_mask"] = torch.ones_like(features["input_ids"])
        with torch.no_grad():
            again = model(features)["sentence_embedding"][0].numpy()
        assert np.abs(again - vector).max() < 1e-6, text
        rows.append({"encoded": text, "ids": ids})
        vectors.append(vector)
    vectors = np.stack(vectors).astype(np.float32)
    check(folder, rows, vectors)
    lines = ",\n".join(json.dumps(row) for row in rows)
    (HERE / "nano.json").write_text(f"[\n{lines}\n]\n")
    save_file({"vectors": vectors}, HERE / "nano.safetensors")


def check(folder, rows, vectors):
    """Prints how near sdpa, f64 and a padded batch come to the values."""
    print("tokens:", sorted(len(row["ids"]) for row in rows))
    texts = [row["encoded"] for row in rows]
    for name, attention, dtype, batch in (
        ("sdpa", "sdpa", torch.float32, 1),
        ("padded batches of 16", "sdpa", torch.float32, 16),
        ("f64", "eager", torch.float64, 1),
        ("bf16", "sdpa", torch.bfloat16, 1),
    ):
        arguments = {"attn_implementation": attention, "dtype": dtype}
        other = SentenceTransformer(folder, device="cpu", model_kwargs=arguments).to(dtype)
        found = other.encode(texts, batch_size=batch, convert_to_tensor=True).double().numpy()
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        gap, cosine = np.abs(found - vectors).max(), (found * vectors).sum(1).min()
        print(f"{name}: largest difference {gap:.1e}, least cosine {cosine:.6f}")
        assert dtype == torch.bfloat16 or gap < 1e-5, (name, gap)


if __name__ == "__main__":
    main(sys.argv[1])

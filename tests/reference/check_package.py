"""Holds a package that `gemmule train` made against sentence-transformers and transformers.

Usage: check_package.py GEMMULE PACKAGE. Both embed the texts of nano_texts.json in f32, each text with its
prompt; the largest difference of a component and the smallest cosine are printed. Exits with 1 above 1e-5.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

gemmule, package = sys.argv[1:3]
entries = json.loads(Path(__file__).with_name("nano_texts.json").read_text())
model = SentenceTransformer(package, device="cpu")
worst, nearest, n_texts = 0.0, 1.0, 0
for task in sorted({entry["prompt"] or "none" for entry in entries}):
    texts = [e["text"] for e in entries if (e["prompt"] or "none") == task and "\n" not in e["text"]]
    if not texts:
        continue
    prompt = model.prompts[task] if task != "none" else ""
    expected = model.encode(texts, prompt=prompt, normalize_embeddings=True, batch_size=1)
    command = [gemmule, "embed", "--model", package, "--task", task, "--precision", "f32", "--truncate"]
    answer = subprocess.run(command, input="\n".join(texts) + "\n", text=True, capture_output=True, check=True)
    found = np.array([json.loads(line) for line in answer.stdout.splitlines()])
    worst = max(worst, float(np.abs(found - expected).max()))
    nearest = min(nearest, float((found * expected).sum(1).min()))
    n_texts += len(texts)
print(f"{n_texts} texts: largest difference {worst:.2e}, smallest cosine {nearest:.7f}")
sys.exit(worst > 1e-5)

"""Writes training.json: losses with gradients, steps of AdamW, and an uncentred PCA.

By PyTorch (autograd, f64 for the losses; torch.optim.AdamW, f32) and numpy. Usage: make_training.py
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

DIMS, WIDTHS, TEACHER_DIMS = 12, [12, 8, 4], 10
N, OWNERS = 6, [0, 2, 2, 5]
QUERY_TEXTS, POSITIVE_TEXTS = [1, 2, 3, 2, 5, 6], [10, 11, 12, 13, 14, 10]
TEMPERATURE, HARDNESS = 0.3, 5.0


def contrastive(q, p, n, both):
    mask = torch.tensor(
        [
            [i == j or (QUERY_TEXTS[i] != QUERY_TEXTS[j] and POSITIVE_TEXTS[i] != POSITIVE_TEXTS[j]) for j in range(N)]
            for i in range(N)
        ]
    )
    cosines = q @ p.T
    total = 0.0
    for i in range(N):
        denominator = (torch.exp(cosines[i] / TEMPERATURE) * mask[i]).sum()
        for k, owner in enumerate(OWNERS):
            if owner == i:
                near = q[i] @ n[k]
                denominator = denominator + torch.exp(HARDNESS * near.detach()) * torch.exp(near / TEMPERATURE)
        total = total - torch.log(torch.exp(cosines[i, i] / TEMPERATURE) / denominator) / N
    if not both:
        return total
    back = 0.0
    for j in range(N):
        column = (torch.exp(cosines[:, j] / TEMPERATURE) * mask[:, j]).sum()
        back = back - torch.log(torch.exp(cosines[j, j] / TEMPERATURE) / column) / N
    return (total + back) / 2


def spread_out(q, p):
    def one(x):
        gram = (x @ x.T) ** 2
        return (gram.sum() - gram.diagonal().sum()) / (N * (N - 1))

    return one(q) + one(p)


def matching(vectors, teachers, width):
    total = 0.0
    for x, t in zip(vectors, teachers):
        padded = F.pad(t, (0, DIMS - TEACHER_DIMS))[:, :width]
        total = total + (1 - F.cosine_similarity(x[:, :width], padded)).mean()
    return total


def similarity(q, p, tq, tp):
    student, teacher = q @ p.T / TEMPERATURE, tq @ tp.T / TEMPERATURE
    rows = F.kl_div(F.log_softmax(student, 1), F.softmax(teacher, 1), reduction="batchmean")
    columns = F.kl_div(F.log_softmax(student.T, 1), F.softmax(teacher.T, 1), reduction="batchmean")
    return (rows + columns) / 2


def losses():
    generator = torch.Generator().manual_seed(3)

    def rows(n, dims):
        return torch.randn(n, dims, generator=generator, dtype=torch.float64) * 2 + 0.3

    raw = [rows(N, DIMS), rows(N, DIMS), rows(len(OWNERS), DIMS)]
    teachers = [rows(N, TEACHER_DIMS), rows(N, TEACHER_DIMS), rows(len(OWNERS), TEACHER_DIMS)]
    unit_teachers = [F.normalize(t) for t in teachers]
    units = lambda vectors, width: [F.normalize(x[:, :width]) for x in vectors]
    terms = {
        "contrastive": lambda v: sum(contrastive(*units(v, w), False) for w in WIDTHS),
        "contrastive_both": lambda v: sum(contrastive(*units(v, w), True) for w in WIDTHS),
        "contrastive_full": lambda v: contrastive(*units(v, DIMS), False),
        "spread_out": lambda v: sum(spread_out(*units(v, w)[:2]) for w in WIDTHS),
        "matching": lambda v: sum(matching(v, teachers, w) for w in WIDTHS),
        "matching_full": lambda v: matching(v, teachers, DIMS),
        "similarity": lambda v: sum(similarity(*units(v, w)[:2], *unit_teachers[:2]) for w in WIDTHS),
    }
    cases = {}
    for name, term in terms.items():
        vectors = [x.clone().requires_grad_() for x in raw]
        value = term(vectors)
        value.backward()
        gradients = [torch.zeros_like(x) if x.grad is None else x.grad for x in vectors]
        cases[name] = {"value": value.item(), "gradients": [g.flatten().tolist() for g in gradients]}
    return {
        "dims": DIMS,
        "widths": WIDTHS,
        "teacher_dims": TEACHER_DIMS,
        "owners": OWNERS,
        "query_texts": QUERY_TEXTS,
        "positive_texts": POSITIVE_TEXTS,
        "temperature": TEMPERATURE,
        "hardness": HARDNESS,
        "vectors": [x.flatten().tolist() for x in raw],
        "teachers": [x.flatten().tolist() for x in teachers],
        "cases": cases,
    }


def adamw():
    """Two tensors, a matrix with decay and a vector without, ten steps; gradients clipped by their common norm."""
    generator = torch.Generator().manual_seed(4)
    matrix = torch.randn(3, 4, generator=generator)
    vector = torch.randn(5, generator=generator)
    start = [matrix.flatten().tolist(), vector.tolist()]
    parameters = [matrix.requires_grad_(), vector.requires_grad_()]
    groups = [{"params": [matrix], "weight_decay": 0.1}, {"params": [vector], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.98), eps=1e-8)
    rates = [0.01, 0.02, 0.03, 0.03, 0.025, 0.02, 0.015, 0.01, 0.005, 0.0]
    gradients, states, norms = [], [], []
    for rate in rates:
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        gradients.append([p.grad.flatten().tolist() for p in parameters])
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, 1.5).item())
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
        states.append([p.detach().flatten().tolist() for p in parameters])
    return {
        "shapes": [[3, 4], [1, 5]],
        "start": start,
        "rates": rates,
        "betas": [0.9, 0.98],
        "epsilon": 1e-8,
        "decay": 0.1,
        "clip": 1.5,
        "gradients": gradients,
        "norms": norms,
        "states": states,
    }


def pca():
    generator = np.random.default_rng(5)
    rows = generator.normal(size=(40, 6)) @ generator.normal(size=(6, 6)) + 0.5
    rows = rows.astype(np.float16)
    exact = rows.astype(np.float64)
    values, vectors = np.linalg.eigh(exact.T @ exact)
    order = np.argsort(-values)
    return {
        "rows": rows.astype(float).tolist(),
        "energies": (values[order] / values.sum()).tolist(),
        "axes": vectors.T[order].tolist(),
    }


if __name__ == "__main__":
    out = Path(__file__).with_name("training.json")
    out.write_text(json.dumps({"losses": losses(), "adamw": adamw(), "pca": pca()}) + "\n")

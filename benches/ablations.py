"""What each part of the recipe is worth: models trained with one part changed, on equal budgets, and measured.

    python benches/ablations.py --gemmule PATH --data PAIRS --teacher DIR --eval DIR --out DIR [--steps 400] [--only NAME ...]

All begin with nothing learnt but nano's vocabulary and, for each of its tokens, the teacher's vector of the token's string. A
variant whose folder is there already is trained on from its checkpoint, or only measured. Prints a table of differences from the
base, with the interval of 95 % of their mean over the retrieval sets and how likely chance alone is (`gemmule eval --against`), and
writes all that was measured to OUT/ablations.json. Needs nothing but Python.
"""

import argparse
import copy
import json
import subprocess
from pathlib import Path

RECIPE = Path(__file__).parent.parent / "engine/assets/nano/recipe.json"
SETS = "cranfield med cacm time squad_sent se_beer covidfaq docs_heldout nl2bash trecqa".split()
WIDTHS = (384, 128, 64)


def base(steps):
    """The recipe of nano, from the start, in so many steps."""
    recipe = json.loads(RECIPE.read_text())
    recipe["start"] = {"random": {"like": "nano", "token_vectors_of_teacher": True}}
    recipe["teacher"] = {"folder": "teacher", "turn": "axes", "leave_out_missing": True}
    stage = recipe["stages"][0]
    stage["steps"] = steps
    stage["optimiser"].update(rate=0.002, average=0.99)
    return recipe


def soup(recipe):
    """Half of the steps together, then three mixtures of a sixth each, averaged."""
    first, last = recipe["stages"][0], copy.deepcopy(recipe["stages"][0])
    steps = first["steps"]
    first["steps"], last["steps"], last["name"] = steps // 2, steps // 6, "mixtures"
    rates = [float(data.get("rate", 1.0)) for data in last["data"]]
    last["mixtures"] = [[rate * (3.0 if i % 3 == k else 1.0) for i, rate in enumerate(rates)] for k in range(3)]
    recipe["stages"].append(last)


def changed(recipe, name):
    """The recipe with one part changed."""
    recipe = copy.deepcopy(recipe)
    loss = recipe["stages"][0]["loss"]
    match name:
        case "base":
            pass
        case "no distillation":
            del loss["matching"], loss["similarity"]
        case "no contrastive term":
            del loss["contrastive"]
        case "no spread-out":
            del loss["spread_out"]
        case "full width only":
            for term in loss.values():
                term["every_width"] = False
        case "random start":
            recipe["start"]["random"]["token_vectors_of_teacher"] = False
        case "soup of three":
            soup(recipe)
    return recipe


NAMES = ["base", "no distillation", "no contrastive term", "no spread-out", "full width only", "random start", "soup of three"]


def train(flags, name):
    """Trains a variant, or goes on with it; returns its model."""
    folder = flags.out / name.replace(" ", "-")
    recipe = folder.with_suffix(".json")
    recipe.write_text(json.dumps(changed(base(flags.steps), name), indent=2))
    if not (folder / "model").exists():
        command = [flags.gemmule, "train", recipe, "--data", flags.data, "--teacher", flags.teacher, "--held-out", flags.eval]
        command += ["--out", folder] + (["--resume"] if (folder / "recipe.json").exists() else [])
        with open(folder.with_suffix(".log"), "w") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log)
    return folder / "model"


def measured(flags, model, against):
    sets = [flags.eval / "beir" / name for name in SETS] + [flags.eval / "sts" / "stsb_en_test.tsv"]
    command = [flags.gemmule, "--json", "eval", *sets, "--dims", ",".join(map(str, WIDTHS)), "--model", model, "--against", against]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gemmule", required=True)
    for name in ("data", "teacher", "eval", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--only", nargs="*", choices=NAMES, default=NAMES)
    flags = parser.parse_args()
    flags.out.mkdir(parents=True, exist_ok=True)
    reference = train(flags, "base")
    results = {}
    print("| variant | nDCG@10 384 | 128 | 64 | STS-B 384 | nDCG@10 384 against base [95 %] | p |\n|---|---|---|---|---|---|---|")
    for name in flags.only:
        results[name] = found = measured(flags, train(flags, name), reference)
        mean = {row["dims"]: row["ndcg10"] for row in found["means"] if row["ndcg10"] is not None}
        sts = next(row["spearman"] for row in found["results"] if row["spearman"] is not None and row["dims"] == WIDTHS[0])
        of_means = [row for row in found["differences"] if row["set"] == "mean" and row["measure"] == "ndcg10" and row["dims"] == WIDTHS[0]]
        row = of_means[0]
        difference = "" if name == "base" else f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}] | {row['p']:.4f}"
        numbers = " | ".join(f"{mean[width]:.4f}" for width in WIDTHS)
        print(f"| {name} | {numbers} | {sts:.4f} | {difference or ' | '} |", flush=True)
        (flags.out / "ablations.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

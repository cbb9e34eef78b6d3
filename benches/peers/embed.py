"""Compares the speed of embedding engines on one model folder, side by side in one run, and checks that each computes the right vectors.

    python embed.py MODEL [--gguf-dir DIR] [--gemmule PATH] [--rounds 3] [--seconds 3] [--engines NAME ...] [--json OUT.json]

Every engine runs in its own process on the same two CPUs with two threads. A round visits each engine once, each round in another
order; a figure is the median over rounds of the medians within them, so that a noisy minute hurts all alike.
"""

import argparse
import contextlib
import json
import os
import random as shuffler
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tokenizers

import engines
import reference

CASES = {"1x16": [16], "1x256": [256], "8x256": [256] * 8, "1x2048": [2048], "mixed": None}  # mixed: see `sequences`
MIXED_TEXTS, MIXED_LENGTHS, MIXED_BATCH = 64, (16, 512), 8
TRUTH, TEXTS = "truth", "texts"  # the name of the visit that writes the vectors to compare with; a set of them that is no case
GEMMULE_PRECISIONS = ("f32", "bf16", "int8", "int4")
GEMMULE_CASES = {"1x16": [1, 16], "1x256": [1, 256], "8x256": [8, 256], "1x2048": [1, 2048], "mixed": [MIXED_TEXTS, MIXED_LENGTHS[1], "--mixed"]}


def sequences(model: Path, seed: int) -> dict[str, list[list[int]]]:
    """The token ids of each case."""
    random, vocabulary = np.random.default_rng(seed), reference.vocabulary(model)
    mixed = random.integers(MIXED_LENGTHS[0], MIXED_LENGTHS[1] + 1, MIXED_TEXTS).tolist()
    lengths = CASES | {"mixed": sorted(mixed)}  # sorted, so that a batch holds texts of nearly one length
    return {case: [reference.random_ids(random, n, vocabulary) for n in of_case] for case, of_case in lengths.items()}


def texts(model: Path, seed: int) -> list[str]:
    """One line each: random pieces of the vocabulary, for an engine that takes no ids."""
    tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    return [" ".join(tokenizer.decode(ids).split()) for ids in sequences(model, seed)["mixed"][::2]]


def truth(case: str, args) -> np.ndarray:
    """The f32 vectors of sentence-transformers for a case (or TEXTS), each text alone and without padding; kept in the work folder."""
    path = args.work / f"truth-{args.seed}-{case}.npy"
    if not path.exists():
        network = reference.load(args.model)
        if case == TEXTS:
            vectors = network.encode(texts(args.model, args.seed), batch_size=1)
        else:
            vectors = np.stack([reference.embed(network, ids) for ids in sequences(args.model, args.seed)[case]])
        np.save(path, vectors)
    return np.load(path)


def cosines(vectors: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    cos = (vectors * expected).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(expected, axis=1)
    return {"cosine_mean": float(cos.mean()), "cosine_min": float(cos.min())}


# One visit of one engine, in a process of its own


def visited(name: str, args) -> dict:
    if name == TRUTH:
        for case in [*args.cases, *([TEXTS] if args.gemmule else [])]:
            truth(case, args)
        return {}
    kind, _, precision = name.rpartition(" ")
    return visit_gemmule(precision, args) if kind == "Gemmule" else visit(name, args)


def visit(engine: str, args) -> dict:
    loaded = engines.LOADERS[engine](model=args.model, work=args.work, gguf_dir=args.gguf_dir)
    cases = {}
    all_ids = sequences(args.model, args.seed)
    for case in args.cases:
        ids = all_ids[case]
        batches = [ids[i : i + MIXED_BATCH] for i in range(0, len(ids), MIXED_BATCH)]
        vectors = np.concatenate([loaded.encode(batch) for batch in batches])  # also the warm-up
        millis = timed(lambda: [loaded.encode(batch) for batch in batches], args.seconds)
        tokens = sum(map(len, ids))
        cases[case] = {"millis": millis, "tokens_per_s": 1000 * tokens / millis} | cosines(vectors, truth(case, args))
    return {"about": loaded.about, "instructions": loaded.instructions(), "peak_rss_bytes": peak_rss(), "cases": cases}


def peak_rss() -> int:
    """The most memory this process had resident; getrusage would count its parent's."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def timed(work, seconds: float) -> float:
    """The median of the runs that fit in `seconds`, but of at least five, unless those take more than ten seconds."""
    millis, begin = [], time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds or (len(millis) < 5 and elapsed < 10):
        start = time.perf_counter()
        work()
        millis.append(1000 * (time.perf_counter() - start))
    return statistics.median(millis)


def visit_gemmule(precision: str, args) -> dict:
    """Gemmule times itself, on ids that it draws itself; its cosine is that of its vectors of `texts`, one figure for all cases."""
    if args.gemmule is None:
        raise engines.Skipped("no --gemmule")

    def gemmule(*words, **options) -> str:
        ran = subprocess.run([str(args.gemmule), *map(str, words)], capture_output=True, text=True, **options)
        if ran.returncode:
            raise engines.Skipped(f"gemmule {words[0]}: exit status {ran.returncode}: {last_line(ran.stderr)}")
        return ran.stdout

    flags = ["--model", args.model.resolve(), "--precision", precision]
    lines = gemmule("embed", *flags, "--task", "none", input="".join(f"{line}\n" for line in texts(args.model, args.seed)))
    vectors = np.array([json.loads(line) for line in lines.splitlines()])
    of_texts = cosines(vectors, truth(TEXTS, args))
    cases, own, peak = {}, 1.0, 0
    for case in args.cases:
        batch, tokens, *mixed = GEMMULE_CASES[case]
        out = json.loads(gemmule("--json", "bench", "embed", *flags, "--batch", batch, "--tokens", tokens, "--threads", engines.THREADS, *mixed))
        cases[case] = {"millis": out["millis_median"], "tokens_per_s": out["tokens_per_s"]} | of_texts
        own, peak = min(own, out["cosine_to_f32"]), max(peak, out["peak_rss_bytes"])
    return {"about": f"lowest cosine to its own f32 {own:.6f}", "instructions": "not told", "peak_rss_bytes": peak, "cases": cases}


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


# All rounds


def compare(args) -> dict:
    names = [*engines.LOADERS, *(f"Gemmule {precision}" for precision in GEMMULE_PRECISIONS)]
    names = [name for name in names if not args.engines or any(wanted.lower() in name.lower() for wanted in args.engines)]
    visit_command = [sys.executable, __file__, *sys.argv[1:], "--work", str(args.work), "--visit"]
    subprocess.run([*visit_command, TRUTH], check=True, capture_output=True)
    visits: dict[str, list[dict]] = {name: [] for name in names}
    skipped: dict[str, str] = {}
    for turn in range(args.rounds):
        order = [name for name in names if name not in skipped]
        shuffler.Random(turn).shuffle(order)
        for name in order:
            ran = subprocess.run([*visit_command, name], capture_output=True, text=True)
            result = json.loads(last_line(ran.stdout)) if ran.returncode == 0 else {"skipped": last_line(ran.stderr)}
            if "skipped" in result:
                skipped[name] = result["skipped"]
            else:
                visits[name].append(result)
            print(f"round {turn + 1}: {name}: {result.get('skipped', 'done')}", file=sys.stderr)
    return {"engines": {name: summary(of_engine) for name, of_engine in visits.items() if of_engine}, "skipped": skipped}


def summary(visits: list[dict]) -> dict:
    cases = {}
    for case in visits[0]["cases"]:
        of_case = [visit["cases"][case] for visit in visits]
        speeds = [visit["tokens_per_s"] for visit in of_case]
        cases[case] = {key: statistics.median(visit[key] for visit in of_case) for key in of_case[0]}
        cases[case] |= {"slowest_round": min(speeds), "fastest_round": max(speeds)}
    return visits[0] | {"peak_rss_bytes": max(visit["peak_rss_bytes"] for visit in visits), "cases": cases}


def add_ratios(table: dict) -> None:
    """To each case its speed over that of the fastest engine other than Gemmule."""
    for case in CASES:
        of_case = {name: engine["cases"][case] for name, engine in table["engines"].items() if case in engine["cases"]}
        best = max((row["tokens_per_s"] for name, row in of_case.items() if not name.startswith("Gemmule")), default=None)
        for row in of_case.values():
            row["ratio_to_best_rival"] = row["tokens_per_s"] / best if best else None


def markdown(table: dict) -> str:
    lines = ["| engine | " + " | ".join(CASES) + " | cosine mean | cosine min | peak MiB |", "|---" * (len(CASES) + 4) + "|"]
    for name, engine in table["engines"].items():
        cells = []
        for case in CASES:
            row = engine["cases"].get(case)
            ratio = row and row["ratio_to_best_rival"]
            cells.append("–" if row is None else f"{row['tokens_per_s']:,.0f}" + (f" ({ratio:.2f}x)" if ratio else ""))
        rows = engine["cases"].values()
        mean, worst = statistics.mean(row["cosine_mean"] for row in rows), min(row["cosine_min"] for row in rows)
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {mean:.6f} | {worst:.6f} | {engine['peak_rss_bytes'] / 2**20:,.0f} |")
    lines += ["", "Tokens/s (x: to the fastest engine other than Gemmule); two threads.", ""]
    lines += [f"- {name}: {engine['about']}; instructions: {engine['instructions']}" for name, engine in table["engines"].items()]
    lines += [f"- {name}: skipped: {reason}" for name, reason in table["skipped"].items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a sentence-transformers folder, such as make_model.py writes")
    parser.add_argument("--gguf-dir", type=Path, help="holds the same model as GGUF files with f32, q8_0, q4_0 in their names")
    parser.add_argument("--gemmule", type=Path, help="the gemmule binary")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="time a case gets in one round")
    parser.add_argument("--engines", nargs="+", help="only those whose name contains one of these words")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--json", type=Path, help="also write all figures here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="keeps exported graphs, about four times the model; a temporary folder if absent")
    parser.add_argument("--visit", help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: engines.THREADS])
    if args.visit:
        with contextlib.redirect_stdout(sys.stderr):  # libraries print
            try:
                result = visited(args.visit, args)
            except (engines.Skipped, ImportError) as reason:
                result = {"skipped": str(reason)}
        print(json.dumps(result))
        return
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(engines.THREADS)
    with contextlib.ExitStack() as cleanup:
        if args.work is None:
            args.work = Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        args.work.mkdir(parents=True, exist_ok=True)
        table = compare(args)
    add_ratios(table)
    if args.json:
        args.json.write_text(json.dumps(table, indent=1) + "\n")
    print(markdown(table))


if __name__ == "__main__":
    main()

"""Compares the search of vector indexes on the same rows, side by side in one run: speed at equal recall, building, memory, disk.

    python search.py ROWS.npy QUERIES.npy [--gemmule PATH] [--rows N] [--rounds 3] [--engines a,b] [--skip c] [--json OUT.json] [--filters]

Every engine runs in processes of its own, one that builds and saves and, for each number of threads, one that loads and searches. A round
visits each engine once, each round in another order; figures are medians over rounds. Rows and queries: see embed_rows.py and make_rows.py.
"""

import argparse
import contextlib
import json
import math
import os
import random as shuffler
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import rows as rows_on_disk
from indexes import COLUMNS, INDEXES, Filter
from rows import Rows, key, recall

EFS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
TARGETS = (0.95, 0.97, 0.99)  # of recall@10; a sweep ends at the last
FILTER_TARGET, FILTER_QUERIES = 0.97, 200
SELECTIVITIES = (0.5, 0.1, 0.01, 0.001, 0.0001)
GEMMULE = "Gemmule"


# What every process sees alike: the rows, the right answers and, for filters, the attributes. The first to ask makes them


def shuffled(args) -> Rows:
    return rows_on_disk.shuffled(args.rows_file, args.rows, args.seed, args.work)


def queries(args) -> np.ndarray:
    return np.ascontiguousarray(np.load(args.queries_file)[: args.queries or (FILTER_QUERIES if args.filters else None)], dtype=np.float32)


def kept(name: str, make, args) -> np.ndarray:
    path = args.work / f"{name}-{key(args.rows_file, args.queries_file, args.rows, args.queries, args.seed, args.filters)}.npy"
    if not path.exists():
        np.save(path, make())
    return np.load(path)


def right_answers(args, filter: Filter | None = None) -> np.ndarray:
    name = f"truth-{filter.column}-{filter.limit}" if filter else "truth"
    return kept(name, lambda: rows_on_disk.exact(shuffled(args), queries(args), filter.mask if filter else None), args)


def attributes(args) -> np.ndarray:
    """[COLUMNS, rows]: each row's place in a random order, and in the order of nearness to one of the rows, drawn at random."""

    def make():
        rows, random = shuffled(args), np.random.default_rng([args.seed, 1])
        topic = np.load(rows.path, mmap_mode="r")[random.integers(rows.count)]
        near = np.concatenate([block @ topic for _, block in rows.blocks()])
        places = np.empty((len(COLUMNS), rows.count), np.int64)
        places[0], places[1, np.argsort(-near)] = random.permutation(rows.count), np.arange(rows.count)
        return places

    return kept("attributes", make, args)


def filters(args) -> list[Filter]:
    places = attributes(args)
    limits = [max(1, round(share * places.shape[1])) for share in SELECTIVITIES]
    return [Filter(column, limit, places[i] < limit) for i, column in enumerate(COLUMNS) for limit in limits]


# One visit of one engine, in a process of its own


def memory(field: str) -> int:
    """Bytes of this process, from the kernel: VmRSS (resident now) or VmHWM (the most so far)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


def build(name: str, folder: Path, args) -> dict:
    rows, columns = shuffled(args), dict(zip(COLUMNS, attributes(args))) if args.filters else {}
    index = INDEXES[name]()
    before, start = memory("VmRSS"), time.perf_counter()
    index.build(rows, columns, folder, max(args.threads))
    seconds, peak = time.perf_counter() - start, memory("VmHWM") - before
    index.save(folder)
    disk = sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())
    return {"build_s": seconds, "build_peak_bytes": peak, "disk_bytes_per_row": disk / rows.count}


def search(name: str, folder: Path, threads: int, args) -> dict:
    rows, asked, right = shuffled(args), queries(args), right_answers(args)
    index = INDEXES[name]()
    before = memory("VmRSS")
    index.load(folder, rows, threads)
    points = sweep(lambda ef: index.search(asked, ef, threads), len(asked), right, TARGETS[-1], args)
    return {"resident_bytes_per_row": (memory("VmRSS") - before) / rows.count, "points": points}


def search_filtered(name: str, folder: Path, threads: int, args) -> dict:
    index, asked, cases = INDEXES[name](), queries(args), {}
    index.load(folder, shuffled(args), threads)
    for filter in filters(args):
        points = sweep(lambda ef: index.search(asked, ef, threads, filter), len(asked), right_answers(args, filter), FILTER_TARGET, args)
        reached = [point for point in points if point["recall10"] >= FILTER_TARGET]
        cases[f"{filter.column} {filter.limit}"] = reached[0] if reached else max(points, key=lambda point: point["recall10"])
    return {"cases": cases}


def sweep(answer, asked: int, right: np.ndarray, target: float, args) -> list[dict]:
    """Recall and queries a second at each ef, up to the first that reaches the target."""
    points = []
    for ef in EFS:
        found = answer(ef)  # also the warm-up
        points.append({"ef": ef, "recall10": recall(found, right), "qps": asked / timed(lambda: answer(ef), args.seconds)})
        if points[-1]["recall10"] >= target:
            break
    return points


def timed(work, seconds: float) -> float:
    """The median of the runs that fit in `seconds`, but of at least three, unless those take more than ten seconds."""
    runs, begin = [], time.perf_counter()
    while not runs or (elapsed := time.perf_counter() - begin) < seconds or (len(runs) < 3 and elapsed < 10):
        start = time.perf_counter()
        work()
        runs.append(time.perf_counter() - start)
    return statistics.median(runs)


def visit_gemmule(dims: str, threads: int, args) -> dict:
    """Gemmule builds, searches and measures itself, with truth of its own."""
    np.save(args.work / "queries.npy", queries(args))
    words = ["--base", shuffled(args).path, "--queries", args.work / "queries.npy", "--ef", ",".join(map(str, EFS)), "--threads", threads, "--json"]
    command = [args.gemmule.resolve(), "bench", "search", *words, *(["--dims", dims] if dims else [])]
    ran = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if ran.returncode:
        message = next((line for line in ran.stderr.splitlines() if line.startswith("error")), last_line(ran.stderr))
        raise RuntimeError(f"gemmule bench search: exit status {ran.returncode}: {message}")
    out = json.loads(ran.stdout)
    parts = out["bytes_per_row"]
    resident = sum(parts[part] for part in ("codes", "graph", "ids", "full"))
    built = {"build_s": out["build_s"], "build_peak_bytes": out["build_peak_rss_bytes"], "disk_bytes_per_row": parts["disk"]}
    return built | {"resident_bytes_per_row": resident, "bytes_per_row": parts, "points": out["points"]}


# All rounds


def visited(name: str, *words, args) -> dict:
    """The result of a visit in a process of its own, on as many processors as it has threads."""
    threads = int(words[-1])
    environment = os.environ | {variable: str(threads) for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LANCE_CPU_THREADS")}
    command = [sys.executable, __file__, *sys.argv[1:], "--work", str(args.work), "--visit", name, *map(str, words)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment | {"LANCEDB_LOG": "error"})
    return json.loads(last_line(ran.stdout)) if ran.returncode == 0 else {"skipped": last_line(ran.stderr)}


def run_visit(name: str, what: str, folder: str, threads: str, args) -> dict:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    if what == "build":
        return build(name, Path(folder), args)
    if name.startswith(GEMMULE):
        return visit_gemmule(name.removeprefix(GEMMULE).strip(), int(threads), args)
    return (search_filtered if args.filters else search)(name, Path(folder), int(threads), args)


def reason_to_skip(name: str, count: int, args) -> str | None:
    if name.startswith(GEMMULE):
        return "bench search has no filters" if args.filters else None if args.gemmule else "no --gemmule"
    try:
        index = INDEXES[name]()
    except ImportError as reason:
        return str(reason)
    if args.filters and not index.has_filter:
        return "its Python interface has no filter"
    return f"only up to {index.most_rows:,} rows" if index.most_rows and count > index.most_rows else None


def compare(args, indexes: Path) -> dict:
    count = shuffled(args).count
    for filter in filters(args) if args.filters else [None]:
        right_answers(args, filter)
    names = [*INDEXES, *(f"{GEMMULE} {dims}".strip() for dims in args.dims.split(","))]
    names = [name for name in names if wanted(args.engines, name) and not (args.skip and wanted(args.skip, name))]
    skipped = {name: reason for name in names if (reason := reason_to_skip(name, count, args))}
    visits: dict[str, list[dict]] = {name: [] for name in names}
    for turn in range(args.rounds):
        order = [name for name in names if name not in skipped]
        shuffler.Random(turn).shuffle(order)
        for name in order:
            folder, of_round, start = indexes / name.replace(" ", "-"), {}, time.perf_counter()
            if turn == 0 and not name.startswith(GEMMULE):
                folder.mkdir()
                of_round["build"] = visited(name, "build", folder, max(args.threads), args=args)
            if "skipped" not in of_round.get("build", {}):
                for threads in args.threads[:1] if args.filters else args.threads:
                    of_round[str(threads)] = visited(name, "search", folder, threads, args=args)
            failed = [result["skipped"] for result in of_round.values() if "skipped" in result]
            if failed:
                skipped[name] = failed[0]
            else:
                visits[name].append(of_round)
            print(f"round {turn + 1}: {name}: {skipped.get(name, 'done')}, {time.perf_counter() - start:.0f} s", file=sys.stderr)
    summary = summary_filtered if args.filters else summary_unfiltered
    engines = {name: summary(of_engine) for name, of_engine in visits.items() if name not in skipped}
    about = {"rows": count, "width": shuffled(args).width, "queries": len(queries(args)), "threads": args.threads, "seed": args.seed}
    return {"about": about, "engines": engines, "skipped": skipped}


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


def wanted(words: str | None, name: str) -> bool:
    return not words or any(word.strip().lower() in name.lower() for word in words.split(","))


def summary_unfiltered(visits: list[dict]) -> dict:
    """Gemmule builds in every visit, so its building is that with the most threads."""
    searches = {threads: [visit[threads] for visit in visits] for threads in visits[0] if threads != "build"}
    builds = [visit["build"] for visit in visits if "build" in visit] or searches[max(searches, key=int)]
    summed = {"build_s": statistics.median(b["build_s"] for b in builds), "build_peak_bytes": max(b["build_peak_bytes"] for b in builds)}
    all_searches = [visit for of_threads in searches.values() for visit in of_threads]
    summed |= {"disk_bytes_per_row": builds[0]["disk_bytes_per_row"], "bytes_per_row": all_searches[0].get("bytes_per_row")}
    summed["resident_bytes_per_row"] = max(visit["resident_bytes_per_row"] for visit in all_searches)
    summed["threads"] = {}
    for threads, of_threads in searches.items():
        points = medians([visit["points"] for visit in of_threads])
        summed["threads"][threads] = {"points": points, "qps_at": {target: qps_at(target, points) for target in TARGETS}}
    return summed


def summary_filtered(visits: list[dict]) -> dict:
    (threads,) = (name for name in visits[0] if name != "build")
    cases = visits[0][threads]["cases"]
    return {"cases": {case: medians([[visit[threads]["cases"][case]] for visit in visits])[0] for case in cases}}


def medians(sweeps: list[list[dict]]) -> list[dict]:
    """Point by point. A sweep may end a step before another, where the engine's threads make its answers vary."""
    return [{field: statistics.median(point[field] for point in at_ef) for field in at_ef[0]} for at_ef in zip(*sweeps)]


def qps_at(target: float, points: list[dict]) -> float | None:
    """Queries a second at a recall: its logarithm is a line between the last point below it and the first that reaches it."""
    below = None
    for point in sorted(points, key=lambda point: point["recall10"]):
        if point["recall10"] >= target:
            if below is None:
                return point["qps"]
            share = (target - below["recall10"]) / (point["recall10"] - below["recall10"])
            return math.exp((1 - share) * math.log(below["qps"]) + share * math.log(point["qps"]))
        below = point
    return None


def markdown(table: dict, args) -> str:
    about = table["about"]
    lines = filtered_lines(table) if args.filters else unfiltered_lines(table)
    lines += ["", f"{about['rows']:,} rows of {about['width']}, {about['queries']:,} queries, seed {about['seed']}, {args.rounds} rounds."]
    return "\n".join([*lines, "", *(f"- {name}: skipped: {reason}" for name, reason in table["skipped"].items())])


def unfiltered_lines(table: dict) -> list[str]:
    head = [f"{target}, {n} thread{'s' * (n > 1)}" for n in table["about"]["threads"] for target in TARGETS]
    head = ["engine", *head, "build s", "build peak MiB", "resident B/row", "disk B/row"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, engine in table["engines"].items():
        cells = []
        for of_threads in engine["threads"].values():
            best = max(point["recall10"] for point in of_threads["points"])
            cells += [f"{qps:,.0f}" if qps else f"never ({best:.3f})" for qps in of_threads["qps_at"].values()]
        cells += [f"{engine['build_s']:,.1f}", f"{engine['build_peak_bytes'] / 2**20:,.0f}"]
        cells += [f"{engine['resident_bytes_per_row']:,.0f}", f"{engine['disk_bytes_per_row']:,.0f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, "", "Queries/s at a recall@10, interpolated; never: it does not reach it (its best recall)."]


def filtered_lines(table: dict) -> list[str]:
    shares = [f"{100 * share:g} %" for share in SELECTIVITIES]
    lines = ["| engine | attribute | " + " | ".join(shares) + " |", "|---" * (len(shares) + 2) + "|"]
    for name, engine in table["engines"].items():
        for column in COLUMNS:
            points = [point for case, point in engine["cases"].items() if case.startswith(f"{column} ")]
            cells = [f"{point['recall10']:.3f} / {point['qps']:,.0f} (ef {point['ef']:g})" for point in points]
            lines.append(f"| {name} | {column} | " + " | ".join(cells) + " |")
    return [*lines, "", f"Recall@10 / queries/s at the first ef whose recall is {FILTER_TARGET}, else at the best; {table['about']['threads'][0]} thread."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows_file", type=Path, metavar="ROWS.npy", help="float32 or float16, [rows, width], of unit length")
    parser.add_argument("queries_file", type=Path, metavar="QUERIES.npy")
    parser.add_argument("--gemmule", type=Path, help="the gemmule binary")
    parser.add_argument("--dims", default="", help="widths of Gemmule's codes, one run each, such as 256,512; its own choice if absent")
    parser.add_argument("--rows", type=int, help="only so many, drawn by the seed")
    parser.add_argument("--queries", type=int, help=f"only the first so many; {FILTER_QUERIES} with --filters if absent")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1, help="time an ef gets in one round")
    parser.add_argument("--threads", type=lambda words: [int(word) for word in words.split(",")], default=[1, 2])
    parser.add_argument("--engines", help="only those whose name contains one of these words: a,b")
    parser.add_argument("--skip", help="all but those whose name contains one of these words")
    parser.add_argument("--filters", action="store_true", help="search among a share of the rows instead")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="keeps the shuffled rows and the truth; indexes lie here meanwhile. Default: ROWS.search")
    parser.add_argument("--visit", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.work = args.work or args.rows_file.with_suffix(".search")
    if args.visit:
        with contextlib.redirect_stdout(sys.stderr):  # libraries print
            result = run_visit(*args.visit, args)
        print(json.dumps(result))
        return
    args.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="indexes-", dir=args.work) as indexes:
        table = compare(args, Path(indexes))
    if args.json:
        args.json.write_text(json.dumps(table, indent=1) + "\n")
    print(markdown(table, args))


if __name__ == "__main__":
    main()

"""Assay's search beside ``nncf.quantize_with_accuracy_control``: wall time to a plan that holds, and its speed.

Run: ``python bench/against_accuracy_control.py --packages DIR`` (see README.md), or with names of pairs. On each pair
plain INT8 misses the tolerance. Every contender has the same calibration items, the same evaluation items and the same
threads, and a process of its own; NNCF is stopped at ``--limit`` seconds and keeps what it had reached. Then all models
are opened in one process and timed in rounds. A plan holds, for both, where the metric over all evaluation items is
within the tolerance of FP32's; whether Assay also certified it is told beside. What is finished is kept in the work
folder and not measured again, but with ``--again``. Prints a table and one JSON line; ``--output`` keeps the line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import msgspec
import numpy as np
from accuracy_control.cases import CASES, Case, holds
from accuracy_control.contest import time_all
from accuracy_control.olive_part import run_olive
from accuracy_control.peers import run_accuracy_control, run_plain
from accuracy_control.product import run_study
from accuracy_control.results import Row, drop_others, read_row, write_row
from accuracy_control.running import open_model, say_all
from zoo.pair import Places

from assay.measure.machine import describe_machine

HERE = Path(__file__).resolve().parent
WORK = HERE / "scratch" / "accuracy_control"
PACKAGES = "ASSAY_ZOO_PACKAGES"
VERSIONED = ("numpy", "onnx", "openvino", "nncf", "assay-precision")
CONTROL = "nncf-accuracy-control"
PARTS = ("reference", "nncf-plain", CONTROL, "assay", "olive", "latency")
DEFAULT_PAIRS = ("efficientnet-lite0", "minilm", "opennsfw", "fashion-separable")
SHARE = 1 / 5
"""Of NNCF's wall time, that Assay may take."""


def run_part(case: Case, part: str, folder: Path, options: argparse.Namespace) -> Row:
    """One contender, in this process."""
    if part == "reference":
        said = {one: say_all(open_model(case.model, one, options.threads), case.evaluation_feeds) for one in COMPUTES}
        np.save(folder / "reference.npy", said["f32"])
        return {"metric": {one: case.judge(values, said["f32"])[0] for one, values in said.items()}}
    if part == "nncf-plain":
        return run_plain(case, folder, options.threads)
    if part == CONTROL:
        return run_accuracy_control(case, folder, options.threads, options.limit)
    if part == "assay":
        return run_study(case, folder, options.threads, options.latency_seconds)
    if part == "olive":
        return run_olive(case, folder, options.olive, options.threads, options.olive_limit)
    return time_all(case, folder, options.threads, options.seconds)


COMPUTES = ("f32", "bf16")


def start_part(name: str, part: str, folder: Path, options: argparse.Namespace) -> None:
    """One contender in a process of its own, whose words go into a file.

    Raises:
        SystemExit: it failed.
    """
    began = time.perf_counter()
    print(f"{name}: {part} ...", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, name, "--part", part, "--work", str(options.work)]
    for key in (
        "threads",
        "limit",
        "seconds",
        "latency_seconds",
        "items",
        "tolerance",
        "packages",
        "olive",
        "olive_limit",
    ):
        if getattr(options, key) is not None:
            command += [f"--{key.replace('_', '-')}", str(getattr(options, key))]
    log = folder / f"{part}.log"
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {part} failed, see {log}")
    print(f"{name}: {part} took {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


def conclude(case: Case, rows: dict[str, Row]) -> Row:
    """What the pair shows."""
    control, ours = rows[CONTROL], rows["assay"]
    pick, first = ours["pick"], ours["first"]
    plain = rows["nncf-plain"]["metric"]
    beside = rows["latency"]["assay_over"] if "latency" in rows else {}
    reached = control.get("metric", {})
    faster = {name: ratio[1] for name, ratio in beside.items()}
    held = {f"{CONTROL}-{one}" for one, value in reached.items() if holds(case, value)}
    # Where none of NNCF's holds, its unfinished model is still shown beside.
    rivals = [value for name, value in faster.items() if name in held or not held]
    return {
        "tolerance": case.tolerance,
        "plain_misses": not holds(case, plain["f32"]),
        "nncf_seconds": control["seconds"],
        "nncf_finished": control["finished"],
        "nncf_reverts": control["reverts"],
        "nncf_metric": reached,
        "nncf_holds": {one: holds(case, value) for one, value in reached.items()},
        "assay_seconds": ours["seconds"],
        "assay_first_seconds": None if first is None else first["at"],
        "assay_plan_seconds": None if pick is None else pick["at"],
        "assay_plan": None if pick is None else pick["trial"],
        "assay_kept_nodes": None if pick is None else pick["kept"],
        "assay_metric": None if pick is None else pick["metric"],
        "assay_holds": pick is not None and holds(case, pick["metric"]),
        "assay_certificate": None if pick is None else pick["certificate"],
        "share_of_time": ours["seconds"] / control["seconds"],
        "share_of_time_to_first": None if first is None else first["at"] / control["seconds"],
        "within_a_fifth": ours["seconds"] <= SHARE * control["seconds"],
        "assay_over_nncf": faster,
        "as_fast": all(value >= 1 for value in rivals) if rivals else None,
    }


def list_lines(rows: dict[str, Row]) -> list[tuple[str, float, float | None, str]]:
    """Contender, metric, seconds and remark of each line of a pair's table."""
    listed = [(name, rows["reference"]["metric"][one], None, "") for name, one in (("fp32", "f32"), ("bf16", "bf16"))]
    for name in ("nncf-plain", CONTROL, "olive"):
        row = rows.get(name, {})
        note = row.get("said", "")
        if name == CONTROL:
            note = f"{row['reverts']} trials after plain INT8" + ("" if row["finished"] else ", unfinished")
        listed += [(f"{name}-{one}", value, row["seconds"], note) for one, value in row.get("metric", {}).items()]
    pick = rows["assay"]["pick"]
    if pick is not None:
        note = f"{pick['trial']}, {pick['kept']} nodes kept, {pick['certificate'] or 'no certificate'}"
        listed.append(("assay", pick["metric"], rows["assay"]["seconds"], note))
    return listed


def print_pair(case: Case, rows: dict[str, Row], verdict: Row) -> None:
    """The table of a pair."""
    times = rows["latency"]["models"]
    metric = "1 - mae" if case.metric == "mae" else case.metric
    print(f"\n{case.name}: {metric} >= {1 - case.tolerance:g}, {len(case.evaluation_feeds):,} items")
    print(f"{'contender':<28}{'seconds':>9}{metric:>11}{'holds':>7}{'p50 ms':>9}{'x FP32':>8}  what")
    for name, value, seconds, note in list_lines(rows):
        took = "" if seconds is None else f"{seconds:.1f}"
        held = "yes" if holds(case, value) else "no"
        timed = times.get(name)
        speed = f"{timed['p50_ms']:>9.3f}{timed['over_fp32'][1]:>7.2f}x" if timed else f"{'':>17}"
        print(f"{name:<28}{took:>9}{value:>11.4f}{held:>7}{speed}  {note}")
    if "olive" in rows and "metric" not in rows["olive"]:
        print(f"{'olive':<28}{rows['olive']['seconds']:>9.1f}{'':>35}  {rows['olive']['said']}")
    first, plan = verdict["assay_first_seconds"], verdict["assay_plan_seconds"]
    stopped = "" if verdict["nncf_finished"] else " (stopped there)"
    print(f"-> Assay took {verdict['share_of_time']:.2f} of NNCF's {verdict['nncf_seconds']:.0f} s{stopped}")
    if first is not None:
        print(f"   its first plan that holds was there after {first:.1f} s, the one above after {plan or 0:.1f} s")
    for name, ratio in verdict["assay_over_nncf"].items():
        print(f"   it is {ratio:.2f}x as fast as {name}")
    print("   seconds by stage: " + ", ".join(f"{k} {v:.1f}" for k, v in rows["assay"]["stages"].items()))


def run_pair(name: str, options: argparse.Namespace) -> Row:
    """Every part of a pair that is not there yet."""
    folder = find_folder(name, options)
    case = make_case(name, options)
    drop_others(folder, (case.model, case.calibration, case.evaluation))
    rows: dict[str, Row] = {}
    for part in PARTS:
        if part == "olive" and (options.olive is None or name != options.olive_pair):
            continue
        kept = read_row(folder, part)
        fresh = kept is None or part in options.again or (part == "latency" and options.again)
        if fresh:
            start_part(name, part, folder, options)
        rows[part] = read_row(folder, part) or {}
    verdict = conclude(case, rows)
    print_pair(case, rows, verdict)
    return {"pair": name, "items": len(case.evaluation_feeds), "verdict": verdict, "parts": rows}


def find_folder(name: str, options: argparse.Namespace) -> Path:
    """Where a pair's parts are kept; another number of items or tolerance is another folder."""
    told = "" if options.tolerance is None else f"-{options.tolerance:g}"
    folder: Path = options.work / f"{name}-{options.items or CASES[name][1]}{told}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def make_case(name: str, options: argparse.Namespace) -> Case:
    """A pair with its files."""
    make, items = CASES[name]
    places = Places(Path(options.packages) if options.packages else None, HERE / "scratch" / "zoo")
    case = make(places, options.items or items)
    return case if options.tolerance is None else replace(case, tolerance=options.tolerance)


def read_commit() -> str:
    """The commit that is measured, with a mark where files differ from it."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", metavar="PAIR", help=f"of {', '.join(CASES)}; some where none is named")
    parser.add_argument("--packages", default=os.environ.get(PACKAGES), help=f"or the variable {PACKAGES}")
    parser.add_argument("--work", type=Path, default=WORK, help="where parts are kept")
    parser.add_argument("--limit", type=float, default=900, help="seconds after which NNCF is stopped")
    parser.add_argument("--seconds", type=float, default=60, help="of the rounds that time all models")
    parser.add_argument("--latency-seconds", type=float, default=30, help="budget of the study's own timing")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--items", type=int, help="evaluation items, instead of the pair's own number")
    parser.add_argument("--tolerance", type=float, help="instead of the pair's own")
    parser.add_argument("--olive", type=Path, help="Python of an environment with olive-ai, for one more row")
    parser.add_argument("--olive-limit", type=float, default=300, help="seconds of its search")
    parser.add_argument("--olive-pair", default="efficientnet-lite0", choices=CASES)
    parser.add_argument("--again", nargs="*", default=[], choices=PARTS, help="parts to measure anew")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    options.work = options.work.resolve()
    unknown = set(options.pairs) - set(CASES)
    if unknown:
        parser.error(f"no pair is called {', '.join(sorted(unknown))}")
    return options


def main() -> None:
    """All pairs, or one part of one."""
    options = parse()
    if options.part:
        name = options.pairs[0]
        folder = find_folder(name, options)
        write_row(folder, options.part, run_part(make_case(name, options), options.part, folder, options))
        return
    results = [run_pair(name, options) for name in options.pairs or DEFAULT_PAIRS]
    line = {
        "bench": "against_accuracy_control",
        "commit": read_commit(),
        "machine": dict(describe_machine().facts()),
        "versions": {name: metadata.version(name) for name in VERSIONED},
        "threads": options.threads,
        "pairs": results,
    }
    print(json.dumps({**line, "pairs": [{"pair": one["pair"], **one["verdict"]} for one in results]}))
    if options.output is not None:
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(line), indent=1))


if __name__ == "__main__":
    main()

"""What INT8 costs each real pair of the zoo: Assay's variants beside NNCF's and ONNX Runtime's, on the same items.

Run: ``python bench/calibration_quality.py --packages DIR [PAIR ...] [--rows GLOB]``. DIR holds the downloaded packages
(``bench/README.md`` lists them). Finished rows of ``results/calibration_quality.json`` are reused where neither the
versions nor, for Assay's rows, its code have changed; ``--again`` measures them anew, and the file is written after
each row. Prints a table and a JSON line for each pair; exits 1 where one misses the goal.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import assay
from assay.core.errors import BackendError
from assay.core.precision import Precision
from assay.core.session import Session
from assay.measure.machine import describe_machine

from zoo.catalogue import PAIRS  # isort: skip
from zoo.pair import Judged, Pair, Places  # isort: skip
from zoo.peers import PEERS  # isort: skip
from zoo.product import Product, Variant  # isort: skip
from zoo.running import Evaluated, Run, evaluate  # isort: skip

HERE = Path(__file__).resolve().parent
SCRATCH = HERE / "scratch"
RESULTS = HERE / "results" / "calibration_quality.json"
PACKAGES = "ASSAY_ZOO_PACKAGES"
GOAL_PP = 0.3
STATED_DIGITS = 3
MOST_DB = 200.0
"""Written for outputs that do not differ at all, since JSON has no infinity."""
VERSIONED = ("numpy", "onnx", "onnxruntime", "openvino", "nncf")
RUNTIMES = ("onnxruntime", "openvino")

Row = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One row to measure.

    Attributes:
        key: of what it depends on; a stored row with another one is measured anew.
    """

    name: str
    maker: str
    runtime: str
    key: str
    variant: Variant | None = None


def hash_code() -> str:
    """Content hash of Assay's own modules."""
    digest = hashlib.sha256()
    for path in sorted(Path(assay.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def read_versions() -> dict[str, str]:
    """Versions of everything that shapes a row."""
    return {name: metadata.version(name) for name in VERSIONED}


class Bench:
    """One pair: its FP32 models first, then every row."""

    def __init__(self, pair: Pair, stored: Mapping[str, Any], threads: int, *, again: bool) -> None:
        self._pair = pair
        self._threads = threads
        self._product = Product(pair, threads)
        self._stored = {} if again else {row["row"]: row for row in stored.get("rows", [])}
        self._folder = SCRATCH / "quality" / pair.name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._float: dict[str, Evaluated] = {}

    def list_entries(self) -> Iterator[Entry]:
        """All rows, Assay's first round first."""
        versions = json.dumps(read_versions(), sort_keys=True)
        peers, ours = (hashlib.sha256(text.encode()).hexdigest()[:16] for text in (versions, versions + hash_code()))
        variants = list(self._product.list_variants())
        for variant in variants:
            if variant.first:
                yield Entry(variant.name, "assay", variant.candidate.runtime, ours, variant)
        for peer in PEERS:
            yield Entry(peer.name, peer.name.partition(".")[0], peer.runtime, peers)
        seen = {variant.name for variant in variants if variant.first}
        for variant in variants:
            if variant.name not in seen:
                seen.add(variant.name)
                yield Entry(variant.name, "assay", variant.candidate.runtime, ours, variant)

    def measure(self, entry: Entry) -> Row:
        """A row, reused where it stands."""
        known = self._stored.get(entry.name)
        if known is not None and known["key"] == entry.key and self._kept(entry.name).exists():
            return dict(known)
        begin = time.perf_counter()
        row: Row = {"row": entry.name, "maker": entry.maker, "runtime": entry.runtime, "key": entry.key}
        row["first"] = entry.variant is not None and entry.variant.first
        try:
            with self._open(entry) as (run, audit):
                evaluated = evaluate(self._pair, self._product.evaluation_data, run)
        except BackendError as error:
            return row | {"refused": str(error)[:300]}
        row |= self._describe(entry, evaluated) | audit
        return row | {"seconds": round(time.perf_counter() - begin, 1)}

    def describe_float(self) -> dict[str, dict[str, float]]:
        """FP32's figures by runtime."""
        return {runtime: dict(self._evaluate_float(runtime).judged.figures) for runtime in RUNTIMES}

    def compare(self, reference: str, variant: str) -> dict[str, float]:
        """Loss of one finished row against another one."""
        found = self._pair.judge.compare(self._read(reference), self._read(variant))
        return {
            "loss_pp": round(found.loss_pp, 3),
            "low_pp": round(found.low_pp, 3),
            "high_pp": round(found.high_pp, 3),
        }

    def _describe(self, entry: Entry, evaluated: Evaluated) -> Row:
        """Metric, loss and distance; keeps what later comparisons need."""
        reference = self._evaluate_float(entry.runtime)
        compared = self._pair.judge.compare(reference.judged, evaluated.judged)
        figures = {name: round(value, 5) for name, value in evaluated.judged.figures.items()}
        np.savez_compressed(
            self._kept(entry.name), **evaluated.judged.kept, **{f"figure.{k}": v for k, v in figures.items()}
        )
        sqnr = evaluated.measure_sqnr(reference)
        return {
            "figures": figures,
            "loss_pp": round(compared.loss_pp, 3),
            "low_pp": round(compared.low_pp, 3),
            "high_pp": round(compared.high_pp, 3),
            "agreement": round(compared.agreement, 4),
            **{name: round(value, 5) for name, value in compared.others.items()},
            "sqnr_db": {name: round(min(value, MOST_DB), 2) for name, value in sqnr.items()},
        }

    @contextmanager
    def _open(self, entry: Entry) -> Iterator[tuple[Run, Row]]:
        """The quantized model of a row, and what of it ran on integers where the runtime tells."""
        if entry.variant is not None:
            with self._product.open_variant(entry.variant.candidate) as session:
                yield session.run, {"integers": self._audit(session)}
            return
        peer = next(peer for peer in PEERS if peer.name == entry.name)
        items = [dict(batch.feeds) for batch in self._product.calibration_data.batches(1)]
        yield peer.open(self._pair.model, items, self._threads), {}

    def _audit(self, session: Session) -> float:
        """Share of the multiplications that ran on integers."""
        batch = next(iter(self._product.evaluation_data.batches(self._pair.batch)))
        return round(session.executed(batch.feeds).shares()[Precision.INT8], 4)

    def _evaluate_float(self, runtime: str) -> Evaluated:
        """FP32 in a runtime, once."""
        if runtime not in self._float:
            with self._product.open_float(runtime) as session:
                self._float[runtime] = evaluate(self._pair, self._product.evaluation_data, session.run)
        return self._float[runtime]

    def _kept(self, name: str) -> Path:
        return self._folder / f"{name}.npz"

    def _read(self, name: str) -> Judged:
        """What was kept of a row."""
        with np.load(self._kept(name)) as stored:
            figures = {key.removeprefix("figure."): float(stored[key]) for key in stored if key.startswith("figure.")}
            return Judged(figures, {key: stored[key] for key in stored if not key.startswith("figure.")})


def conclude(bench: Bench, rows: list[Row]) -> list[Row]:
    """Each of Assay's first variants against the goal, and beside the peer that loses least in either runtime.

    Where peers lose less than the goal, a variant should lose no more than they do; none has to be better than FP32.
    With few items a peer's gain is luck, so the interval of the difference between the two is given as well.
    """
    peers = [row for row in rows if row["maker"] != "assay" and "loss_pp" in row]
    if not peers:
        return []
    best = min(peers, key=lambda row: (row["loss_pp"], row["row"]))
    nearest = max(peers, key=lambda row: min(row["sqnr_db"].values()))
    verdicts = []
    for row in (row for row in rows if row["first"]):
        if "refused" in row:
            verdicts.append({"row": row["row"], "meets_goal": None, "verdict": f"refused: {row['refused']}"})
            continue
        within = row["loss_pp"] <= GOAL_PP + 1e-9
        as_good = row["loss_pp"] <= max(best["loss_pp"], 0.0) + 1e-9
        beside = bench.compare(best["row"], row["row"])
        verdict = "as good as FP32 or the best peer" if as_good else "within the goal" if within else "misses the goal"
        if not as_good:
            verdict += f", resolvably worse than {best['row']}" if beside["low_pp"] > 0 else ", no resolved difference"
        verdicts.append(
            {
                "row": row["row"],
                "meets_goal": within or as_good,
                "as_good_as_peers": as_good,
                "loss_pp": row["loss_pp"],
                "least_sqnr_db": min(row["sqnr_db"].values()),
                "best_peer": best["row"],
                "best_peer_loss_pp": best["loss_pp"],
                "beside_best_peer": beside,
                "nearest_peer": nearest["row"],
                "nearest_peer_least_sqnr_db": min(nearest["sqnr_db"].values()),
                "verdict": verdict,
            }
        )
    return verdicts


def check_stated(pair: Pair, found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Where ONNX Runtime's FP32 figures are not what the pair's description says."""
    ours = found["onnxruntime"]
    return [
        f"{pair.name}: FP32 {name} is {ours[name]:.4f}, stated is {value}"
        for name, value in pair.stated.items()
        if abs(ours[name] - value) >= 10.0**-STATED_DIGITS
    ]


def print_table(pair: Pair, result: Row) -> None:
    """One line per row, the FP32 models first."""
    main_figure = next(iter(next(iter(result["float"].values()))))
    print(f"\n{pair.name}: {pair.setting}")
    head = f"{'variant':<62}{main_figure:>10}{'loss pp':>9}{'90% interval':>18}{'SQNR dB':>9}{'agree':>8}{'int':>6}"
    print(head)
    for runtime, figures in result["float"].items():
        print(f"{runtime + '.fp32':<62}{figures[main_figure]:>10.4f}")
    for row in result["rows"]:
        mark = "* " if row["first"] else ""
        if "refused" in row:
            print(f"{mark + row['row']:<62}  refused: {row['refused']}")
            continue
        interval = f"{row['low_pp']:+.2f} {row['high_pp']:+.2f}"
        least = min(row["sqnr_db"].values())
        share = f"{row['integers']:.0%}" if "integers" in row else ""
        print(
            f"{mark + row['row']:<62}{row['figures'][main_figure]:>10.4f}{row['loss_pp']:>9.2f}{interval:>18}"
            f"{least:>9.1f}{row['agreement']:>8.4f}{share:>6}"
        )
    for verdict in result["verdicts"]:
        print(f"-> {verdict['row']}: {verdict['verdict']}")
        if "loss_pp" in verdict:
            print(
                f"   loss {verdict['loss_pp']:.2f} pp, {verdict['best_peer']} {verdict['best_peer_loss_pp']:.2f} pp; "
                f"SQNR {verdict['least_sqnr_db']:.1f} dB, {verdict['nearest_peer']} "
                f"{verdict['nearest_peer_least_sqnr_db']:.1f} dB"
            )
    for finding in result["findings"]:
        print(f"finding: {finding}")


def run_pair(name: str, places: Places, kept: dict[str, Any], options: argparse.Namespace) -> Row:
    """All rows of a pair that match, merged with those stored; written after each."""
    pair = PAIRS[name](places)
    stored = kept["pairs"].get(name, {})
    bench = Bench(pair, stored, options.threads, again=options.again)
    result: Row = {"setting": pair.setting, "float": bench.describe_float()}
    result["findings"] = check_stated(pair, result["float"])
    known = {row["row"]: row for row in stored.get("rows", [])}
    measured: dict[str, Row] = {}
    for entry in bench.list_entries():
        if any(fnmatch.fnmatch(entry.name, pattern) for pattern in options.rows):
            measured[entry.name] = bench.measure(entry)
            line = measured[entry.name]
            print(f"{name} {entry.name}: {line.get('refused') or line['loss_pp']}", file=sys.stderr, flush=True)
        elif entry.name in known:
            measured[entry.name] = known[entry.name]
        result["rows"] = list(measured.values())
        result["verdicts"] = []
        kept["pairs"][name] = result
        write_results(kept, options.output)
    result["verdicts"] = conclude(bench, result["rows"])
    write_results(kept, options.output)
    print_table(pair, result)
    return result


def write_results(kept: Mapping[str, Any], output: Path) -> None:
    """Replace the file with all results so far."""
    output.parent.mkdir(exist_ok=True)
    temporary = output.with_suffix(".tmp")
    temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    temporary.replace(output)


def main() -> int:
    """Measure the pairs asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", metavar="PAIR", help=f"one of {', '.join(PAIRS)}; all where none is named")
    parser.add_argument("--packages", type=Path, default=os.environ.get(PACKAGES), help=f"or the variable {PACKAGES}")
    parser.add_argument("--rows", nargs="+", default=["*"], metavar="GLOB", help="measure only rows whose name matches")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where results are kept and reused from")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of every runtime")
    parser.add_argument("--again", action="store_true", help="measure finished rows anew")
    options = parser.parse_args()
    unknown = set(options.pairs) - set(PAIRS)
    if unknown:
        parser.error(f"no pair is called {', '.join(sorted(unknown))}; there are {', '.join(PAIRS)}")
    kept: dict[str, Any] = {"pairs": {}}
    if options.output.exists():
        kept = json.loads(options.output.read_text(encoding="utf-8"))
    kept |= {
        "bench": "calibration_quality",
        "goal_pp": GOAL_PP,
        "machine": dict(describe_machine().facts()),
        "versions": read_versions(),
    }
    places = Places(Path(options.packages) if options.packages else None, SCRATCH / "zoo")
    missed = False
    for name in options.pairs or PAIRS:
        result = run_pair(name, places, kept, options)
        print(json.dumps({"bench": "calibration_quality", "pair": name, **result}))
        missed |= any(verdict["meets_goal"] is False for verdict in result["verdicts"])
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

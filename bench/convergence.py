"""What stopping early costs, and what a chosen subset gains: the convergence rule and `choose_spread`, measured.

Run: ``python bench/convergence.py [residual separable efficientnet] [--seeds 5] [--runtime onnxruntime]``. For every
seed up to 300 random calibration items are observed in random order (EfficientNet-Lite0 has 128), once until the rule
stops and once to the end; both give INT8 models, which are evaluated on the same labelled items. Then subsets of the
pool are chosen, by their spread and at random, and their ranges are judged by the noise on the whole pool. Prints a
table and one JSON line; ``--output`` keeps the line.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx_ir as ir

from assay.backends.table import load_backend
from assay.calibrate.observe import observe
from assay.calibrate.ranges.solve import solve_ranges
from assay.calibrate.selection.convergence import ConvergenceRule
from assay.calibrate.selection.observe_until import observe_until
from assay.calibrate.selection.representative import choose_spread
from assay.calibrate.selection.settled_range import Outline, measure_noise, settle_range
from assay.core.calibration import Calibration
from assay.core.plan import Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod
from assay.core.session import Dataset, Session
from assay.core.target import Target
from assay.core.tensor import Signature
from assay.data.open import open_dataset
from assay.data.shuffle import shuffle
from assay.data.source import DataSource, Preprocess
from assay.data.subset import every
from assay.graph.expose import observable_tensors
from assay.graph.ingest import load_model
from assay.graph.prepare import prepare
from assay.graph.realise import realise
from assay.graph.save import save_model
from assay.graph.signature import describe_signature
from assay.measure.machine import describe_machine
from assay.studies.exposing import open_exposed

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FIXED = 300
BATCH = 16
METHODS = (RangeMethod.MSE, RangeMethod.MIN_MAX)
SUBSETS = (16, 32, 64, 100)
MOST_SHARE = 0.5
MOST_LOSS_PP = 0.05


@dataclass(frozen=True)
class Subject:
    """A trained model with calibration and evaluation items."""

    name: str
    model: str
    folder: str
    preprocess: Preprocess

    def open(self, part: str, signature: Signature) -> Dataset:
        """Calibration or evaluation items."""
        return open_dataset(DataSource(str(EXAMPLES / self.folder / f"{part}.npz"), self.preprocess), signature)


GRAY = Preprocess(scale=255, mean=(0.2860,), std=(0.3530,))
SUBJECTS = (
    Subject("residual", "fashion/residual.onnx", "fashion", GRAY),
    Subject("separable", "fashion/separable.onnx", "fashion", GRAY),
    Subject(
        "efficientnet", "imagenet/files/efficientnet_lite0.onnx", "imagenet/files", Preprocess(mean=(127,), std=(128,))
    ),
)


@dataclass(frozen=True)
class Scored:
    """What a model said of the evaluation items: whether it was right, and its outputs."""

    right: np.ndarray
    outputs: np.ndarray


def score(session: Session, items: Dataset) -> Scored:
    """Top-1 of every item."""
    outputs, targets = [], []
    for batch in items.batches(64):
        outputs.append(next(iter(session.run(batch.feeds).values())))
        targets.append(batch.targets)
    logits = np.concatenate(outputs).astype(np.float64)
    return Scored(logits.argmax(axis=1) == np.concatenate(targets), logits)


@contextmanager
def build(model: ir.Model, plan: Plan, runtime: str, threads: int) -> Iterator[Session]:
    """A realised model on a runtime."""
    backend, target = load_backend(runtime), Target(runtime=runtime, threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        path, built = Path(folder, "model.onnx"), Path(folder, "built")
        built.mkdir()
        save_model(model, path)
        backend.build(path, built, plan, target)
        with backend.open(built, target) as session:
            yield session


class Bench:
    """One subject on one runtime."""

    def __init__(self, subject: Subject, runtime: str, threads: int) -> None:
        self.subject = subject
        self._runtime = runtime
        self._threads = threads
        self.prepared = prepare(load_model(EXAMPLES / subject.model))
        signature = describe_signature(self.prepared)
        self.pool = subject.open("calibration", signature)
        self._items = subject.open("evaluation", signature)
        self.tensors = observable_tensors(self.prepared)
        with build(self.prepared, Plan(Precision.FP32), runtime, threads) as session:
            self.reference = score(session, self._items)

    def quantize(self, calibration: Calibration, method: RangeMethod) -> Scored:
        """INT8 with the runtime's first dialect, evaluated."""
        dialect = load_backend(self._runtime).dialects(Target(runtime=self._runtime, threads=self._threads))[0]
        plan = Plan(Precision.INT8, scheme=Scheme(dialect, Placement.CHAIN, method))
        model = realise(self.prepared, plan, calibration, solve_ranges(calibration, plan.scheme))
        with build(model, plan, self._runtime, self._threads) as session:
            return score(session, self._items)

    def compare(self, session: Session, seed: int) -> list[dict[str, Any]]:
        """The rule's items against all, for one order of the items."""
        with shuffle(self.pool, min(FIXED, len(self.pool)), np.random.default_rng(seed)) as mixed:
            few, convergence = observe_until(session, mixed, self.tensors, BATCH, ConvergenceRule())
            most = observe(session, mixed, self.tensors, BATCH)
        rows = []
        for method in METHODS:
            ruled, full = self.quantize(few, method), self.quantize(most, method)
            errors = [np.square(one.outputs - self.reference.outputs).mean() for one in (ruled, full)]
            rows.append(
                {
                    "model": self.subject.name,
                    "ranges": str(method),
                    "seed": seed,
                    "items": few.items,
                    "of": most.items,
                    "converged": convergence.converged,
                    "top1_fp32": round(100 * float(self.reference.right.mean()), 3),
                    "top1_all": round(100 * float(full.right.mean()), 3),
                    "top1_rule": round(100 * float(ruled.right.mean()), 3),
                    "loss_pp": round(100 * float(full.right.mean() - ruled.right.mean()), 3),
                    "flips": int((full.right != ruled.right).sum()),
                    "output_noise_db": round(10 * math.log10(errors[0] / errors[1]), 3),
                }
            )
        return rows

    def choose(self, session: Session, seeds: int) -> list[dict[str, Any]]:
        """Excess noise on the pool of ranges from subsets chosen by spread and at random."""
        pool = observe(session, self.pool, self.tensors, BATCH)
        if pool.sketch is None:
            return []
        judge = {name: Outline.of(one) for name, one in pool.tensors.items() if one.total_squares > 0}
        inputs = {tensor for tensor in self.tensors if tensor in {i.name for i in self.prepared.graph.inputs}}
        of_input = [name.rpartition(":")[0] in inputs for name in pool.sketch.names]
        ways = {"activations": pool.sketch.features, "inputs": pool.sketch.features[:, of_input], "random": None}
        rows = []
        for n in SUBSETS:
            for way, features in ways.items():
                found = []
                for seed in range(seeds if 2 * n <= pool.items else 0):
                    rng = np.random.default_rng(seed)
                    size = len(pool.sketch.positions)
                    chosen = rng.permutation(size)[:n] if features is None else choose_spread(features, n, rng)
                    indices = np.sort(pool.sketch.positions[chosen]).tolist()
                    part = observe(session, every(self.pool, indices), self.tensors, BATCH)
                    found.append(measure_excess(part, judge))
                if found:
                    mean = np.mean(found, axis=0)
                    row = {"model": self.subject.name, "items": n, "chosen": way}
                    rows.append(
                        {**row, "excess_db": round(float(mean[0]), 3), "worst_tensor_db": round(float(mean[1]), 3)}
                    )
        return rows


def measure_excess(part: Calibration, judge: dict[str, Outline]) -> tuple[float, float]:
    """Noise-to-signal on the pool over that under the pool's own ranges, in dB: summed, and of the worst tensor."""
    noises = []
    for name, outline in judge.items():
        own, other = settle_range(outline), settle_range(Outline.of(part.tensors[name]))
        lows, highs = np.array([[one.low, one.high] for one in (other, own)]).T
        noises.append(measure_noise(outline, lows, highs) / outline.signal)
    table = np.array(noises)
    total = table.sum(axis=0)
    return 10 * math.log10(total[0] / total[1]), float(10 * np.log10(table[:, 0] / table[:, 1]).max())


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line for each model and range method: means over the seeds, with the standard error of the loss."""
    lines = []
    for model, method in dict.fromkeys((row["model"], row["ranges"]) for row in rows):
        own = [row for row in rows if (row["model"], row["ranges"]) == (model, method)]
        losses = np.array([row["loss_pp"] for row in own])
        full = np.array([row["top1_all"] for row in own])
        share = float(np.mean([row["items"] for row in own])) / FIXED
        lines.append(
            {
                "model": model,
                "ranges": method,
                "seeds": len(own),
                "items": [row["items"] for row in own],
                "of": own[0]["of"],
                "share_of_300": round(share, 3),
                "loss_pp": round(float(losses.mean()), 3),
                "loss_error_pp": round(float(losses.std(ddof=1) / math.sqrt(len(own))) if len(own) > 1 else 0.0, 3),
                "top1_all": round(float(full.mean()), 3),
                "top1_all_spread_pp": round(float(full.std(ddof=1)) if len(own) > 1 else 0.0, 3),
                "output_noise_db": round(float(np.mean([row["output_noise_db"] for row in own])), 3),
                "meets": bool(share <= MOST_SHARE and losses.mean() <= MOST_LOSS_PP),
            }
        )
    return lines


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [subject.name for subject in SUBJECTS]
    parser.add_argument("subjects", nargs="*", help=f"any of {', '.join(names)}; all by default")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    subsets: list[dict[str, Any]] = []
    for subject in SUBJECTS:
        if options.subjects and subject.name not in options.subjects:
            continue
        bench = Bench(subject, options.runtime, options.threads)
        with (
            tempfile.TemporaryDirectory() as folder,
            open_exposed(bench.prepared, bench.tensors, load_backend("onnxruntime"), Path(folder)) as session,
        ):
            for seed in range(options.seeds):
                rows += bench.compare(session, seed)
            subsets += bench.choose(session, options.seeds)
        print_model(subject.name, summarise(rows), subsets)
    line = {
        "bench": "convergence",
        "runtime": options.runtime,
        "machine": dict(describe_machine().facts()),
        "summary": summarise(rows),
        "rows": rows,
        "subsets": subsets,
    }
    print(json.dumps(line))
    if options.output is not None:
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(line), indent=1))


def print_model(name: str, lines: list[dict[str, Any]], subsets: list[dict[str, Any]]) -> None:
    """The table of one model."""
    for row in lines:
        if row["model"] == name:
            items = ", ".join(str(n) for n in row["items"])
            print(
                f"{name:<14}{row['ranges']:<9}{items} of {row['of']}: loss {row['loss_pp']:+.3f} "
                f"+- {row['loss_error_pp']:.3f} pp of {row['top1_all']:.2f} +- {row['top1_all_spread_pp']:.3f}, "
                f"outputs {row['output_noise_db']:+.2f} dB, {'meets' if row['meets'] else 'MISSES'}"
            )
    for row in subsets:
        if row["model"] == name:
            print(
                f"{name:<14}{row['items']:>4} by {row['chosen']:<12}{row['excess_db']:>8.3f} dB, "
                f"worst tensor {row['worst_tensor_db']:.2f} dB"
            )


if __name__ == "__main__":
    main()

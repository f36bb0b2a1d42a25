"""TVM's INT8 beside its own FP32, and that beside ONNX Runtime's, on a convolution and a matmul network.

Run: ``python bench/tvm_speed.py [--tune-seconds 600] [--rounds 40] [--threads 1]``. The networks, a ResNet-50 and a
6-layer encoder of width 384 (128 tokens), have random weights: for speed only. INT8 is Assay's own plan for TVM (u8
activations, ranges of eight random batches). Every network is tuned for at most the given seconds, FP32 and INT8
together; what was measured is kept, so that a second run resumes where the first one ended. Then all artifacts are
open in one process and take turns; told is the median over rounds. The agreement is that of the outputs with
``ORT_DISABLE_ALL``, which computes the same quantize/dequantize graph exactly as it stands, as a signal-to-noise ratio.

Prints a table and writes ``results/tvm_speed.json``; exits 1 where INT8 is less than twice as fast as FP32, or FP32
takes over five times as long as ONNX Runtime.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from assay.backends.backend import Backend
from assay.backends.onnxruntime.adapter import OnnxRuntimeBackend
from assay.backends.table import load_backend
from assay.backends.tvm.tuning import Budget, TuningProgress, tune_model
from assay.calibrate.observe import observe
from assay.calibrate.ranges import solve_ranges
from assay.core.plan import Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod
from assay.core.session import Batch, Session
from assay.core.target import Target
from assay.graph.expose import expose
from assay.graph.ingest import load_model
from assay.graph.prepare import prepare
from assay.graph.realise import needed_tensors, realise
from assay.graph.save import save_model
from assay.measure.machine import describe_machine

from networks import Builder, write_resnet50  # isort: skip

RESULTS = Path(__file__).parent / "results" / "tvm_speed.json"
LEAST_GAIN, MOST_SLOWDOWN = 2.0, 5.0
LAYERS, WIDTH, HEADS, TOKENS, WORDS = 6, 384, 12, 128, 1000
WARM_UP = 3
BATCHES = 8


def write_encoder(path: Path) -> None:
    """An encoder with random weights: ``ids`` int64 ``[batch, tokens]`` to ``pooled`` float32 ``[batch, width]``."""
    build = Builder(np.random.default_rng(1))
    table = build.weight("table", build.rng.normal(0, 1, (WORDS, WIDTH)))
    value = build.node("Gather", [table, "ids"], "embed")
    for layer in range(LAYERS):
        value = add_layer(build, value, f"layer{layer}")
    build.nodes.append(helper.make_node("ReduceMean", [value, "axes"], ["pooled"], name="pool", keepdims=0))
    axes = onnx.numpy_helper.from_array(np.array([1], np.int64), "axes")
    splits = onnx.numpy_helper.from_array(np.array([0, TOKENS, HEADS, WIDTH // HEADS], np.int64), "split")
    joined = onnx.numpy_helper.from_array(np.array([0, TOKENS, WIDTH], np.int64), "join")
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", TOKENS])
    pooled = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["batch", WIDTH])
    graph = helper.make_graph(build.nodes, "encoder", [ids], [pooled], [*build.weights, axes, splits, joined])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def add_layer(build: Builder, value: str, name: str) -> str:
    """Attention and a two-layer perceptron, each with a sum and a normalisation behind it."""
    parts = [add_dense(build, value, f"{name}.{part}", WIDTH, WIDTH) for part in ("query", "key", "value")]
    heads = [
        build.node("Transpose", [build.node("Reshape", [part, "split"], f"{name}.split{i}")], f"{name}.turn{i}", perm=p)
        for i, (part, p) in enumerate(zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True))
    ]
    scores = build.node("MatMul", heads[:2], f"{name}.scores")
    scale = build.weight(f"{name}.scale", np.array((WIDTH / HEADS) ** -0.5))
    weights = build.node("Softmax", [build.node("Mul", [scores, scale], f"{name}.scaled")], f"{name}.softmax", axis=-1)
    mixed = build.node("MatMul", [weights, heads[2]], f"{name}.mix")
    mixed = build.node("Transpose", [mixed], f"{name}.back", perm=[0, 2, 1, 3])
    mixed = add_dense(build, build.node("Reshape", [mixed, "join"], f"{name}.join"), f"{name}.output", WIDTH, WIDTH)
    value = add_norm(build, build.node("Add", [value, mixed], f"{name}.sum1"), f"{name}.norm1")
    inner = add_dense(build, value, f"{name}.up", WIDTH, 4 * WIDTH)
    root = build.weight(f"{name}.root", np.array(2**0.5))
    half, one = build.weight(f"{name}.half", np.array(0.5)), build.weight(f"{name}.one", np.array(1.0))
    bent = build.node("Erf", [build.node("Div", [inner, root], f"{name}.div")], f"{name}.erf")
    gate = build.node("Mul", [inner, build.node("Add", [bent, one], f"{name}.plus")], f"{name}.gate")
    inner = build.node("Mul", [gate, half], f"{name}.gelu")
    inner = add_dense(build, inner, f"{name}.down", 4 * WIDTH, WIDTH)
    return add_norm(build, build.node("Add", [value, inner], f"{name}.sum2"), f"{name}.norm2")


def add_dense(build: Builder, value: str, name: str, inner: int, outer: int) -> str:
    """A product with a weight, and a bias."""
    weight = build.weight(f"{name}.weight", build.rng.normal(0, inner**-0.5, (inner, outer)))
    bias = build.weight(f"{name}.bias", build.rng.normal(0, 0.1, outer))
    return build.node("Add", [build.node("MatMul", [value, weight], f"{name}.product"), bias], name)


def add_norm(build: Builder, value: str, name: str) -> str:
    """Layer normalisation."""
    scale, bias = build.weight(f"{name}.scale", np.ones(WIDTH)), build.weight(f"{name}.bias", np.zeros(WIDTH))
    return build.node("LayerNormalization", [value, scale, bias], name, axis=-1, epsilon=1e-5)


class Items:
    """Random inputs of a network."""

    fingerprint = "random"
    labelled = False

    def __init__(self, make: Callable[[np.random.Generator], dict[str, np.ndarray]]) -> None:
        self._make = make

    def __len__(self) -> int:
        return BATCHES

    def batches(self, size: int) -> list[Batch]:
        """Always one at a time."""
        del size
        return [Batch(self._make(np.random.default_rng(index)), None, index) for index in range(BATCHES)]


def draw_image(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Feeds of the ResNet-50."""
    return {"image": rng.standard_normal((1, 3, 224, 224), np.float32)}


def draw_ids(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Feeds of the encoder."""
    return {"ids": rng.integers(0, WORDS, (1, TOKENS))}


NETWORKS = {
    "resnet50": (write_resnet50, draw_image, Placement.CHAIN),
    "encoder": (write_encoder, draw_ids, Placement.OPERANDS),
}


def write_forms(name: str, folder: Path) -> dict[Precision, Path]:
    """The network in FP32, and in TVM's INT8."""
    write, draw, placement = NETWORKS[name]
    source = folder / f"{name}.onnx"
    write(source)
    prepared = prepare(load_model(source))
    dialect = load_backend("tvm").dialects(Target("tvm"))[0]
    plan = Plan(Precision.INT8, scheme=Scheme(dialect, placement, RangeMethod.MIN_MAX))
    names = sorted(needed_tensors(prepared, plan))
    exposed = folder / f"{name}-exposed.onnx"
    save_model(expose(prepared, names), exposed)
    with open_model(load_backend("onnxruntime"), exposed, folder, Precision.FP32, 2) as session:
        observed = observe(session, Items(draw), names, 1)
    paths = {Precision.FP32: folder / f"{name}-fp32.onnx", Precision.INT8: folder / f"{name}-int8.onnx"}
    save_model(prepared, paths[Precision.FP32])
    assert plan.scheme is not None  # noqa: S101 - for the type checker
    save_model(realise(prepared, plan, observed, solve_ranges(observed, plan.scheme)), paths[Precision.INT8])
    return paths


def open_model(backend: Backend, path: Path, folder: Path, precision: Precision, threads: int) -> Session:
    """Build and open."""
    built = Path(tempfile.mkdtemp(dir=folder))
    target = Target(backend.name, threads=threads)
    backend.build(path, built, Plan(precision), target)
    return backend.open(built, target)


def time_turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each call; they take turns, every second round backwards."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    for index in range(rounds):
        for name in list(calls) if index % 2 else reversed(list(calls)):
            start = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - start)
    return {name: round(1e3 * statistics.median(values), 3) for name, values in seconds.items()}


def find_agreement(sessions: Mapping[str, Session], one: str, other: str, feeds: dict[str, np.ndarray]) -> float:
    """Signal-to-noise ratio of one session's outputs against another's, in dB."""
    ours, exact = (next(iter(sessions[name].run(feeds).values())).astype(np.float64) for name in (one, other))
    noise = float(np.square(ours - exact).sum())
    return round(float(10 * np.log10(np.square(exact).sum() / noise)), 1) if noise else float("inf")


def run_network(name: str, folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """One row."""
    paths, threads = write_forms(name, folder), options.threads
    target, feeds = Target("tvm", threads=threads), NETWORKS[name][1](np.random.default_rng(99))
    row: dict[str, object] = {"network": name, "threads": threads}
    tvm, ort = load_backend("tvm"), load_backend("onnxruntime")
    with ExitStack() as stack:
        sessions: dict[str, Session] = {}

        def add(label: str, backend: Backend, precision: Precision) -> None:
            start = time.perf_counter()
            sessions[label] = stack.enter_context(open_model(backend, paths[precision], folder, precision, threads))
            row[f"{label}_build_s"] = round(time.perf_counter() - start, 1)

        add("ort_fp32", ort, Precision.FP32)
        add("ort_exact_int8", OnnxRuntimeBackend(optimise=False), Precision.INT8)
        add("untuned_fp32", tvm, Precision.FP32)
        add("untuned_int8", tvm, Precision.INT8)
        if options.tune_seconds:
            start = time.perf_counter()
            budget = Budget(seconds=options.tune_seconds)
            tune_model(list(paths.values()), target, budget, show_progress)
            row["tuning_s"] = round(time.perf_counter() - start, 1)
        add("tvm_fp32", tvm, Precision.FP32)
        add("tvm_int8", tvm, Precision.INT8)
        shares = sessions["tvm_int8"].executed(feeds).shares()
        row["int8_share"] = round(shares[Precision.INT8], 4)
        row["fp32_agreement_db"] = find_agreement(sessions, "tvm_fp32", "ort_fp32", feeds)
        row["int8_agreement_db"] = find_agreement(sessions, "tvm_int8", "ort_exact_int8", feeds)
        labels = [label for label in sessions if label != "ort_exact_int8"]
        calls = {label: sessions[label].bind(feeds) for label in labels}  # type: ignore[attr-defined]  # both bind
        row |= {f"{label}_ms": value for label, value in time_turns(calls, options.rounds).items()}
    row["int8_gain"] = round(float(row["tvm_fp32_ms"]) / float(row["tvm_int8_ms"]), 2)  # type: ignore[arg-type]
    row["fp32_over_ort"] = round(float(row["tvm_fp32_ms"]) / float(row["ort_fp32_ms"]), 2)  # type: ignore[arg-type]
    return row


def show_progress(progress: TuningProgress) -> None:
    """One line for each measured schedule."""
    print(progress.text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--tune-seconds", type=float, default=600.0)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.networks:
            rows.append(run_network(name, Path(folder), options))
            print(json.dumps(rows[-1], indent=1), flush=True)
    versions = dict(load_backend("tvm").versions()) | dict(load_backend("onnxruntime").versions())
    result = {"machine": describe_machine(), "versions": versions, "rounds": options.rounds, "rows": rows}
    options.output.write_text(json.dumps(result, indent=1, default=str) + "\n", encoding="utf-8")
    good = all(row["int8_gain"] >= LEAST_GAIN and row["fp32_over_ort"] <= MOST_SLOWDOWN for row in rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

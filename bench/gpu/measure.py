"""Every path that runs on a device, in every format and batch: speed, memory, watts, quality, beside plain PyTorch.

Run: ``python bench/gpu/measure.py [--device cuda] [--seconds 540] [--output FILE]``; ``--device cpu --quick`` tries it
on tiny networks. A row is kept as soon as it is measured; run again, it goes on with the rows that are missing, the
most telling first. ResNet-50 and an encoder of BERT-base's size have random weights: they tell of speed only. Quality
is of real pairs. What is said of a row: milliseconds of a call whose inputs and outputs stay on the device, by the wall
clock and by the device's events; of a call with its transfers; items a second; memory and watts while it runs.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from ceilings import Row, measure_ceilings
from plain import Encoder, ResNet, make_plain
from subjects import BERT, TINY, WORDS, Feeds, Forms, Network, list_networks, list_pairs, make_forms, make_pair_forms

from assay.backends.backend import Backend
from assay.backends.table import list_backends, load_backend, make_target
from assay.backends.torch.adapter import TorchBackend, TorchCudaBackend
from assay.backends.torch.execution import set_tf32
from assay.core.errors import AssayError
from assay.core.precision import Precision
from assay.core.session import Binding, Session
from assay.measure.machine import describe_machine
from assay.measure.meters import EnergyMeter, find_energy_meter

BATCHES = (32, 256, 1)
QUICK_BATCHES = (1, 4)
FORMATS = (Precision.FP32, Precision.FP16, Precision.INT8, Precision.TF32, Precision.BF16)
Way = tuple[str, Backend | None, str]
RowKey = tuple[str, int, Precision, Way, str]
MOST_CALLS, LEAST_CALLS = 400, 12
PAIR_BATCH = 250
PACKAGES = ("torch", "triton", "onnxruntime", "onnxruntime-gpu", "tensorrt", "onnx", "numpy", "nvidia-cudnn-cu13")
FAILURES = (AssayError, RuntimeError, LookupError, ValueError, TypeError, OSError, AssertionError)
"""What a row may fail with: it is noted, and the next one measured."""


@dataclass
class Record:
    """Rows by key, kept in a file."""

    path: Path
    rows: dict[str, Row] = field(default_factory=dict)
    facts: Row = field(default_factory=dict)

    def keep(self, key: str, row: Row) -> None:
        """Keep a row."""
        self.rows[key] = row
        text = json.dumps({"facts": self.facts, "rows": self.rows}, indent=1, default=str)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.with_suffix(".part").write_text(text + "\n", encoding="utf-8")
        self.path.with_suffix(".part").replace(self.path)


@dataclass(frozen=True)
class Place:
    """Where it is measured.

    Attributes:
        device: ``cpu`` or ``cuda:0``.
        quick: tiny sizes.
        seconds: for the timed calls of a row.
        stop: time at which no further row begins.
        folder: for files that are made.
    """

    device: str
    quick: bool
    seconds: float
    stop: float
    folder: Path


def describe_device(device: str) -> Row:
    """Machine, device and versions."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    facts: Row = {
        "machine": dict(describe_machine().facts()),
        "versions": versions,
        "python": platform.python_version(),
    }
    if device != "cpu":
        held = torch.cuda.get_device_properties(device)
        facts["device"] = {
            "name": held.name,
            "capability": f"{held.major}.{held.minor}",
            "memory_gib": round(held.total_memory / 2**30, 1),
            "multiprocessors": held.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return facts


def list_paths(device: str) -> Iterator[Way]:
    """Name, adapter and, where it is missing, the reason, of every path of a device; plain PyTorch has no adapter."""
    torch_kind = TorchBackend if device == "cpu" else TorchCudaBackend
    ready = torch_kind()
    yield ready.name, ready, ready.probe().missing
    yield "plain-compile", None, ""
    yield "plain-eager", None, ""
    for name in list_backends():
        if name.startswith("torch") or name in {"reference", "openvino", "tvm"}:
            continue
        if (make_target(name).device == "cpu") is not (device == "cpu"):
            continue
        backend = load_backend(name)
        found = backend.probe()
        yield name, backend, "" if found.available else f"{found.missing}; {found.remedy}"
    yield f"{ready.name}-eager", torch_kind(compiled=False, graphs=False), ready.probe().missing


def measure_calls(call: Callable[[], object], place: Place, items: int) -> Row:
    """Wall time of calls that end when they return, and the watts meanwhile."""
    for _ in range(3):
        call()
    meter, note = find_energy_meter(place.device)
    joules, begin, times = read_joules(meter), time.perf_counter(), []
    while len(times) < LEAST_CALLS or (time.perf_counter() - begin < place.seconds and len(times) < MOST_CALLS):
        start = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - start) / 1e6)
    elapsed = time.perf_counter() - begin
    p50, p99 = (round(float(np.quantile(times, share)), 4) for share in (0.5, 0.99))
    row: Row = {"p50_ms": p50, "p99_ms": p99, "calls": len(times), "items_per_s": round(1e3 * items / p50, 1)}
    row["watts"] = round((read_joules(meter) - joules) / elapsed, 1) if meter is not None else f"not measured: {note}"
    return row


def read_joules(meter: EnergyMeter | None) -> float:
    """The counter, where there is one."""
    return 0.0 if meter is None else meter.read_joules()


def start_memory(device: str) -> None:
    """Begin to look at the device's memory."""
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def read_memory(device: str) -> Row:
    """MiB that torch held at most, and that the whole device holds now, other processes included."""
    if device == "cpu":
        return {}
    free, total = torch.cuda.mem_get_info()
    held = torch.cuda.max_memory_allocated()
    return {"torch_peak_mib": round(held / 2**20, 1), "device_mib": round((total - free) / 2**20, 1)}


def time_session(session: Session, feeds: Feeds, place: Place, items: int) -> Row:
    """One batch of an opened artifact."""
    start = time.perf_counter()
    session.run(feeds)
    session.run(feeds)
    row: Row = {"ready_s": round(time.perf_counter() - start, 2)}
    if isinstance(session, Binding):
        row |= measure_calls(session.bind(feeds), place, items)
    moved = measure_calls(lambda: session.run(feeds), place, items)
    row |= {"with_transfers_p50_ms": moved["p50_ms"]} if "p50_ms" in row else moved
    timer = getattr(session, "time_device", None)
    if timer is not None and place.device != "cpu":
        events = timer(feeds, 100)
        row |= {f"events_p{share}_ms": round(float(np.quantile(events, share / 100)), 4) for share in (50, 99)}
    describe = getattr(session, "describe", None)
    row["how"] = describe(feeds) if describe is not None else ""
    shares = session.executed({name: array[:1] for name, array in feeds.items()}).shares()
    row["executed"] = {str(kind): round(share, 3) for kind, share in shares.items() if share}
    return row


def open_form(
    backend: Backend, forms: Forms, precision: Precision, place: Place, stack: ExitStack
) -> tuple[Session, Row]:
    """Build and open one format."""
    path, plan = forms.write(backend, precision)
    threads = 2 if place.device == "cpu" else 1
    target = make_target(backend.name, threads=threads)
    into = place.folder / f"built-{backend.name}-{precision}"
    remove(into)
    into.mkdir(parents=True)
    start = time.perf_counter()
    backend.build(path, into, plan, target)
    built = time.perf_counter() - start
    size = sum(file.stat().st_size for file in into.rglob("*") if file.is_file())
    session = stack.enter_context(backend.open(into, target))
    stack.callback(remove, into)
    return session, {"plan": plan.name, "build_s": round(built, 2), "artifact_mib": round(size / 2**20, 1)}


def remove(folder: Path) -> None:
    """Remove a folder that this script made."""
    for path in sorted(folder.rglob("*"), reverse=True) if folder.exists() else ():
        path.unlink() if path.is_file() else path.rmdir()
    if folder.exists():
        folder.rmdir()


def compare(found: np.ndarray, wanted: np.ndarray) -> float:
    """Signal-to-noise ratio in dB."""
    noise = float(np.square(found.astype(np.float64) - wanted).sum())
    return round(float(10 * np.log10(np.square(wanted.astype(np.float64)).sum() / noise)), 1) if noise else float("inf")


def measure_form(
    backend: Backend, forms: Forms, network: Network, precision: Precision, batch: int, place: Place
) -> Row:
    """A row of one format of one path."""
    sample = network.draw(np.random.default_rng(7), 2)
    start_memory(place.device)
    with ExitStack() as stack:
        session, facts = open_form(backend, forms, precision, place, stack)
        facts["sqnr_db"] = compare(next(iter(session.run(sample).values())), forms.compute(sample))
        row = time_session(session, network.draw(np.random.default_rng(8), batch), place, batch)
        return facts | row | read_memory(place.device)


def measure_plain(
    name: str, network: str, drawn: Network, precision: Precision, batch: int, place: Place, *, compiled: bool
) -> Row:
    """A row of a network written in PyTorch."""
    if precision is Precision.INT8:
        raise LookupError("plain PyTorch has no INT8 without another package")
    size, words = (TINY, 100) if place.quick else (BERT, WORDS)
    start_memory(place.device)
    model = ResNet(quick=place.quick) if network == "resnet50" else Encoder(size, words)
    set_tf32(on=precision is Precision.TF32)
    call = make_plain(model, precision, place.device, compiled=compiled)
    value = torch.from_numpy(next(iter(drawn.draw(np.random.default_rng(7), batch).values()))).to(place.device)
    if value.is_floating_point():
        value = value.to(next(model.parameters()).dtype).to(memory_format=torch.channels_last)

    def run() -> None:
        with torch.no_grad():
            call(value)
        if place.device != "cpu":
            torch.cuda.synchronize()

    start = time.perf_counter()
    run()
    row: Row = {"how": name, "ready_s": round(time.perf_counter() - start, 2)}
    row |= measure_calls(run, place, batch) | read_memory(place.device)
    torch.compiler.reset()
    return row


def list_rows(place: Place, paths: list[Way], networks: dict[str, Network]) -> Iterator[RowKey]:
    """Key, batch, format, path and network of every row of speed, those that tell most first."""
    for batch in QUICK_BATCHES if place.quick else BATCHES:
        for precision in FORMATS:
            for path in paths:
                for network in networks:
                    if not path[2]:
                        yield f"{network}/{path[0]}/{precision}/{batch}", batch, precision, path, network


def run_speed(record: Record, place: Place, only: str) -> None:
    """All rows of speed that are missing."""
    networks, paths = list_networks(quick=place.quick), list(list_paths(place.device))
    forms: dict[str, Forms] = {}
    for name, _, missing in paths:
        if missing:
            record.keep(f"path/{name}", {"missing": missing})
    for key, batch, precision, (name, backend, _), network in list_rows(place, paths, networks):
        if key in record.rows or only not in key:
            continue
        if time.perf_counter() > place.stop:
            return
        drawn = networks[network]
        try:
            if backend is None:
                compiled = name == "plain-compile"
                row = measure_plain(name, network, drawn, precision, batch, place, compiled=compiled)
            else:
                if network not in forms:
                    forms[network] = make_forms(drawn, place.folder / network)
                row = measure_form(backend, forms[network], drawn, precision, batch, place)
        except FAILURES as error:
            row = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        record.keep(key, row)
        show(key, row)


def run_quality(record: Record, place: Place) -> None:
    """Accuracy of every format on the real pairs, and what it changes against FP32 of the same path."""
    for pair_name, read in list_pairs(quick=place.quick).items():
        pair, wanted = read(), {}
        forms = make_pair_forms(pair, place.folder / pair_name)
        count = 200 if place.quick else len(pair.target)
        for name, backend, missing in list_paths(place.device):
            for precision in FORMATS:
                key = f"quality/{pair_name}/{name}/{precision}"
                if backend is None or missing or name.endswith("-eager"):
                    continue
                if (key in record.rows and precision is not Precision.FP32) or time.perf_counter() > place.stop:
                    continue
                try:
                    with ExitStack() as stack:
                        session, _ = open_form(backend, forms, precision, place, stack)
                        found = predict(session, pair.feeds, count)
                except FAILURES as error:
                    record.keep(key, {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})
                    continue
                wanted.setdefault(name, found)
                right, kept = found == pair.target[:count], wanted[name] == pair.target[:count]
                row: Row = {
                    "top1": round(float(right.mean()), 4),
                    "agreement": round(float((found == wanted[name]).mean()), 4),
                    "lost": int((kept & ~right).sum()),
                    "won": int((right & ~kept).sum()),
                    "items": count,
                }
                record.keep(key, row)
                show(key, row)


def predict(session: Session, feeds: Feeds, count: int) -> np.ndarray:
    """Classes of the first items."""
    name, values = next(iter(feeds.items()))
    parts = [
        next(iter(session.run({name: values[start : min(start + PAIR_BATCH, count)]}).values()))
        for start in range(0, count, PAIR_BATCH)
    ]
    return np.concatenate(parts).argmax(1)


def show(key: str, row: Row) -> None:
    """One line."""
    kept = (
        "items_per_s",
        "p50_ms",
        "p99_ms",
        "events_p50_ms",
        "watts",
        "sqnr_db",
        "ready_s",
        "executed",
        "how",
        "top1",
    )
    parts = [f"{name} {row[name]}" for name in (*kept, "agreement", "failed") if name in row]
    print(f"{key:<46} {'; '.join(parts)[:200]}", flush=True)


def summarise(record: Record) -> None:
    """A table of items a second: what a session reads at the end."""
    speeds = {key: row for key, row in record.rows.items() if "items_per_s" in row}
    lines = sorted({tuple(key.split("/")[i] for i in (0, 3, 1)) for key in speeds})
    print(f"{'network':<10}{'batch':>6} {'path':<22}" + "".join(f"{kind:>10}" for kind in FORMATS))
    for network, batch, path in lines:
        cells = [speeds.get(f"{network}/{path}/{kind}/{batch}", {}).get("items_per_s", "-") for kind in FORMATS]
        print(f"{network:<10}{batch:>6} {path:<22}" + "".join(f"{cell!s:>10}" for cell in cells))


def parse_options() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cpu or cuda")
    parser.add_argument("--quick", action="store_true", help="tiny networks and few items")
    parser.add_argument("--seconds", type=float, default=540, help="begin no further row after this")
    parser.add_argument("--row-seconds", type=float, default=1.5, help="of timed calls of a row")
    parser.add_argument("--only", default="", help="rows whose key holds this text")
    parser.add_argument("--parts", default="ceilings,quality,speed", help="what to measure, in this order")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "results/gpu.json")
    parser.add_argument("--work", type=Path, default=Path(__file__).parents[1] / "scratch/gpu")
    return parser.parse_args()


def main() -> int:
    """Measure what is missing."""
    options = parse_options()
    device = "cpu" if options.device == "cpu" else "cuda:0"
    if device != "cpu" and not torch.cuda.is_available():
        print(f"torch {torch.__version__} sees no CUDA device: run with --device cpu --quick to try the script")
        return 1
    record = Record(options.output)
    if options.output.exists():
        record.rows = json.loads(options.output.read_text(encoding="utf-8"))["rows"]
    record.facts = describe_device(device)
    stop = time.perf_counter() + options.seconds
    place = Place(device, options.quick, 0.1 if options.quick else options.row_seconds, stop, options.work)
    place.folder.mkdir(parents=True, exist_ok=True)
    parts = options.parts.split(",")
    if "ceilings" in parts and "ceilings" not in record.rows:
        record.keep("ceilings", measure_ceilings(device, quick=options.quick))
        print("ceilings", record.rows["ceilings"], flush=True)
    for part in parts:
        if part == "quality":
            run_quality(record, place)
        elif part == "speed":
            run_speed(record, place, options.only)
    summarise(record)
    print(f"rows: {len(record.rows)}; kept in {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

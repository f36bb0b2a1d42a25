"""Time and memory of calibrating a ResNet-50 with random weights: Assay beside the bare model, NNCF and ONNX Runtime.

Run: ``python bench/calibration_speed.py [--images 300] [--histogram-images 20] [--only NAME ...]``. Every row runs in
a process of its own, on two cores, with a warm file cache and compiled kernels. ``memory`` is the peak resident memory
above that of the process with its libraries imported and the model loaded (for Assay: opened with its activations
exposed). ``wall`` and ``cpu`` of a calibration hold everything after that, Assay's with all range solvers for both
kinds of symmetry, whose CPU time is ``solvers`` and does not grow with the images; ``setup`` is what comes before:
exposing, writing, compiling. The bare rows are the model alone. The row in BF16 takes the activations as bfloat16.
Prints a table and one JSON line, and writes ``results/calibration_speed.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import ml_dtypes
import numpy as np

from assay.core.session import Batch

BENCH = Path(__file__).parent
WORK = BENCH / "scratch"
THREADS = 2
WIDE_ROW, HALVED_ROW = "assay openvino fp32", "assay openvino bf16"
SHAPE = (3, 224, 224)
TOOLS = ("numpy", "numba", "onnxruntime", "openvino", "nncf")


class Images:
    """Random images on disk, read one batch at a time."""

    fingerprint = "random"
    labelled = False

    def __init__(self, count: int, first: int = 0) -> None:
        self.path = WORK / "calibration_images.bin"
        self.count, self.first = count, first
        needed = (count + first) * int(np.prod(SHAPE)) * 4
        if not self.path.exists() or self.path.stat().st_size < needed:
            with self.path.open("wb") as file:
                for index in range(count + first):
                    np.random.default_rng(index).standard_normal(SHAPE, np.float32).tofile(file)

    def __len__(self) -> int:
        return self.count

    def batches(self, size: int) -> Iterator[Batch]:
        """Batches in order."""
        with self.path.open("rb") as file:
            file.seek(self.first * int(np.prod(SHAPE)) * 4)
            for start in range(0, self.count, size):
                items = min(size, self.count - start)
                values = np.fromfile(file, np.float32, items * int(np.prod(SHAPE)))
                yield Batch({"image": values.reshape(items, *SHAPE)}, None, start)


def read_memory(field: str) -> float:
    """A field of the kernel's account of this process, in MiB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found.group(1)) / 1024 if found else 0.0


def measure(work: Callable[[], object]) -> dict[str, float]:
    """Seconds and peak memory of a call above the memory before it."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
    before, wall, cpu = read_memory("VmRSS"), time.perf_counter(), time.process_time()
    work()
    return {
        "wall_s": round(time.perf_counter() - wall, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
        "memory_mib": round(read_memory("VmHWM") - before, 1),
        "loaded_mib": round(before, 1),
    }


def prepare_model(source: Path) -> Path:
    """The model as Assay prepares it, which every row is given."""
    from assay.graph.save import save_model  # noqa: PLC0415 - the rows of peers do not import it
    from assay.studies.subject import load_subject  # noqa: PLC0415

    path = WORK / "calibration_prepared.onnx"
    save_model(load_subject(source).prepared, path)
    return path


def run_bare(model: Path, images: Images, runtime: str, batch: int) -> dict[str, object]:
    """The model alone, by Assay's session without copies."""
    from assay.backends.table import load_backend  # noqa: PLC0415
    from assay.calibrate.observe import find_run  # noqa: PLC0415
    from assay.core.plan import Plan  # noqa: PLC0415
    from assay.core.precision import Precision  # noqa: PLC0415
    from assay.core.target import Target  # noqa: PLC0415

    backend, target = load_backend(runtime), Target(runtime, threads=THREADS, batch=batch)
    with tempfile.TemporaryDirectory() as folder:
        backend.build(model, Path(folder), Plan(Precision.FP32), target)
        with backend.open(Path(folder), target) as session:
            run = find_run(session)

            def work() -> None:
                for part in images.batches(batch):
                    run(part.feeds)

            return {**measure(work)}


def run_assay(model: Path, images: Images, runtime: str, precision: str) -> dict[str, object]:
    """Observe what INT8 plans need, and solve every range."""
    from assay.backends.table import load_backend  # noqa: PLC0415
    from assay.calibrate.kernels import load_kernels  # noqa: PLC0415
    from assay.calibrate.observe import observe  # noqa: PLC0415
    from assay.calibrate.statistics import observe_array  # noqa: PLC0415
    from assay.graph.ingest import load_model  # noqa: PLC0415
    from assay.studies.exposing import open_exposed  # noqa: PLC0415

    before = read_memory("VmRSS")
    load_kernels()
    for type_ in (np.float32, ml_dtypes.bfloat16):
        observe_array(np.zeros((1, 8), type_), np.zeros(1, np.int64), 1)
    libraries, begin = read_memory("VmRSS") - before, time.perf_counter()
    loaded = load_model(model)
    backend, tensors = load_backend(runtime), list_tensors(loaded)
    result: dict[str, object] = {"tensors": len(tensors), "kernel_libraries_mib": round(libraries, 1)}
    ranges: dict[str, dict[str, tuple[float, float]]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        open_exposed(loaded, tensors, backend, Path(folder), halved=precision == "bf16") as session,
    ):
        result["setup_s"] = round(time.perf_counter() - begin, 2)

        def work() -> None:
            start = time.perf_counter()
            calibration = observe(session, images, tensors, 1, threads=THREADS)
            result["observing_s"] = round(time.perf_counter() - start, 2)
            result["observed_mib"] = round(read_memory("VmHWM"), 1)
            solving = time.process_time()
            ranges.update(solve_all(calibration))
            result["solvers_s"] = round(time.process_time() - solving, 2)

        result |= measure(work)
    result["ranges"] = ranges
    return result


def list_tensors(model: object) -> list[str]:
    """Tensors that an INT8 plan of any dialect and placement of the runtimes here needs, in the model's order."""
    from assay.backends.table import load_backend  # noqa: PLC0415
    from assay.core.plan import Plan, Scheme  # noqa: PLC0415
    from assay.core.precision import Placement, Precision, RangeMethod  # noqa: PLC0415
    from assay.core.target import Target  # noqa: PLC0415
    from assay.graph.expose import observable_tensors  # noqa: PLC0415
    from assay.graph.realise import needed_tensors  # noqa: PLC0415

    needed = {
        name
        for runtime in ("onnxruntime", "openvino")
        for dialect in load_backend(runtime).dialects(Target(runtime))
        for placement in Placement
        for name in needed_tensors(model, Plan(Precision.INT8, scheme=Scheme(dialect, placement, RangeMethod.MIN_MAX)))
    }
    return [name for name in observable_tensors(model) if name in needed]


def solve_all(calibration: object) -> dict[str, dict[str, tuple[float, float]]]:
    """Every method, symmetric or not: method -> tensor -> limits."""
    from assay.calibrate.ranges import solve_range  # noqa: PLC0415
    from assay.core.precision import IntegerFormat, RangeMethod  # noqa: PLC0415

    solved: dict[str, dict[str, tuple[float, float]]] = {}
    for method in RangeMethod:
        for symmetric in (False, True):
            limits = {
                name: solve_range(statistics, method, IntegerFormat.U8, symmetric)
                for name, statistics in calibration.tensors.items()
            }
            key = f"{method}{' symmetric' if symmetric else ''}"
            solved[key] = {name: (one.low, one.high) for name, one in limits.items()}
    return solved


def run_nncf(model: Path, images: Images) -> dict[str, object]:
    """``nncf.quantize`` of OpenVINO's model, with its defaults."""
    import nncf  # noqa: PLC0415 - slow to import
    import openvino as ov  # noqa: PLC0415

    core = ov.Core()
    core.set_property("CPU", {"INFERENCE_NUM_THREADS": THREADS})
    read = core.read_model(model)
    core.compile_model(read, "CPU")  # the loaded model, as in the other rows
    data = nncf.Dataset(images.batches(1), lambda part: part.feeds["image"])
    return {**measure(lambda: nncf.quantize(read, data, subset_size=len(images)))}


def run_onnxruntime(model: Path, images: Images, method: str) -> dict[str, object]:
    """One of ONNX Runtime's calibrators over the tensors that its quantizer would take."""
    import onnxruntime as ort  # noqa: PLC0415
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod  # noqa: PLC0415
    from onnxruntime.quantization.calibrate import create_calibrator  # noqa: PLC0415
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry  # noqa: PLC0415

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.parts = images.batches(1)

        def get_next(self) -> dict[str, np.ndarray] | None:
            part = next(self.parts, None)
            return None if part is None else dict(part.feeds)

    operators = sorted({*QDQRegistry, *QLinearOpsRegistry})
    ort.set_default_logger_severity(3)
    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            str(model), operators, str(Path(folder, "augmented.onnx")), CalibrationMethod[method]
        )

        def work() -> None:
            calibrator.collect_data(Reader())
            calibrator.compute_data()

        return {**measure(work)}


def run_row(name: str, images: int, model: Path) -> dict[str, object]:
    """What a row's process measures."""
    tool, *options = name.split()
    data = Images(images)
    if tool == "bare":
        return run_bare(model, data, options[0], int(options[1]))
    if tool == "assay":
        return run_assay(model, data, *options)
    return run_nncf(model, data) if tool == "nncf" else run_onnxruntime(model, data, options[0])


def start_row(name: str, images: int, model: Path) -> dict[str, object]:
    """Run a row in a process of its own."""
    cores = sorted(os.sched_getaffinity(0))[:THREADS]
    command = [sys.executable, str(Path(__file__)), "--row", name, "--images", str(images), "--model", str(model)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=lambda: os.sched_setaffinity(0, cores)
    )
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        raise SystemExit(f"row {name} failed")
    row = json.loads(done.stdout.splitlines()[-1])
    row = {"row": name, "images": images, **row}
    print({key: value for key, value in row.items() if key != "ranges"}, file=sys.stderr, flush=True)
    return row


def compare_ranges(one: dict[str, object], other: dict[str, object]) -> dict[str, dict[str, float]]:
    """Difference of the limits over the width of the range, largest and median over tensors, by method."""
    result = {}
    for method, limits in one["ranges"].items():
        apart = [
            max(abs(low - other["ranges"][method][name][0]), abs(high - other["ranges"][method][name][1]))
            / max(high - low, 1e-30)
            for name, (low, high) in limits.items()
        ]
        result[method] = {"largest": round(max(apart), 5), "median": round(float(np.median(apart)), 5)}
    return result


def list_rows(options: argparse.Namespace) -> list[tuple[str, int]]:
    """Rows and their images."""
    images, few = options.images, options.histogram_images
    rows = [(f"bare {runtime} {batch}", images) for runtime in ("openvino", "onnxruntime") for batch in (1, 8)]
    rows += [(WIDE_ROW, count) for count in (images // 4, images // 2, images)]
    rows += [("assay onnxruntime fp32", images), (HALVED_ROW, images), ("nncf", images)]
    rows += [("onnxruntime MinMax", images), ("onnxruntime Entropy", few), ("onnxruntime Percentile", few)]
    return [row for row in rows if not options.only or any(row[0].startswith(name) for name in options.only)]


def print_table(rows: list[dict[str, object]]) -> None:
    """One line a row; the last columns are an image's time over that of the fastest bare pass."""
    least = {
        kind: min((per_image(row, kind) for row in rows if str(row["row"]).startswith("bare")), default=0.0)
        for kind in ("wall_s", "cpu_s")
    }
    print(
        f"{'':<26}{'images':>7}{'setup s':>9}{'wall s':>9}{'cpu s':>9}{'solvers s':>11}"
        f"{'memory MiB':>12}{'wall/bare':>11}{'cpu/bare':>10}"
    )
    for row in rows:
        ratios = [f"{per_image(row, kind) / bare:.2f}x" if bare else "-" for kind, bare in least.items()]
        print(
            f"{row['row']:<26}{row['images']:>7}{row.get('setup_s', '-'):>9}{row['wall_s']:>9}{row['cpu_s']:>9}"
            f"{row.get('solvers_s', '-'):>11}"
            f"{row['memory_mib']:>12}{ratios[0]:>11}{ratios[1]:>10}"
        )


def per_image(row: dict[str, object], kind: str) -> float:
    """Seconds of one image."""
    return float(row[kind]) / int(row["images"])


def main() -> None:
    """Run the rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--histogram-images", type=int, default=20, help="for the calibrators that keep everything")
    parser.add_argument("--only", nargs="*", default=[], help="first words of the rows to run")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        print(json.dumps(run_row(options.row, options.images, options.model)))
        return
    WORK.mkdir(exist_ok=True)
    from networks import write_resnet50  # noqa: PLC0415 - rows do not need it

    source = options.model or WORK / "resnet50.onnx"
    if not source.exists():
        write_resnet50(source)
    Images(options.images)
    model = prepare_model(source)
    start_row(WIDE_ROW, 1, model)  # compiles the kernels where they are not yet
    rows = [start_row(name, images, model) for name, images in list_rows(options)]
    finish(rows, options.images)


def finish(rows: list[dict[str, object]], images: int) -> None:
    """Print and keep what was measured."""
    from assay.measure.machine import describe_machine  # noqa: PLC0415

    named = {str(row["row"]): row for row in rows}  # of several counts the last one
    moved = compare_ranges(named[WIDE_ROW], named[HALVED_ROW]) if {WIDE_ROW, HALVED_ROW} <= {*named} else {}
    half = next((row for row in rows if row["row"] == WIDE_ROW and row["images"] == images // 2), None)
    drawn = compare_ranges(named[WIDE_ROW], half) if half else {}
    print_table(rows)
    if moved:
        print("\nranges: largest and median difference over the width of the range, over all tensors")
        print(f"{'':<28}{'bf16 for fp32':>20}{'half of the images':>22}")
        for method, apart in moved.items():
            other = drawn.get(method, {"largest": 0.0, "median": 0.0})
            print(
                f"{method:<28}{apart['largest']:>10.4f}{apart['median']:>10.4f}"
                f"{other['largest']:>12.4f}{other['median']:>10.4f}"
            )
    line = {
        "bench": "calibration_speed",
        "machine": dict(describe_machine().facts()),
        "versions": {tool: metadata.version(tool) for tool in TOOLS},
        "rows": [{key: value for key, value in row.items() if key != "ranges"} for row in rows],
        "bf16_ranges": moved,
        "half_ranges": drawn,
    }
    print(json.dumps(line))
    (BENCH / "results" / "calibration_speed.json").write_text(json.dumps(line, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

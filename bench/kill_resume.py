"""A study killed at random moments: what the next run of the same command finds, repeats and decides.

Run: ``python bench/kill_resume.py [--kills 50] [--interrupts 5] [--jobs 1] [--search] [--output FILE]``. A small
network is studied by ONNX Runtime in FP32 and INT8, once to its end, and then again and again in fresh folders: killed
with ``SIGKILL`` at a moment drawn uniformly over the duration of a whole study, and run again to its end. Each study is
a process of its own, forked from this one after its imports, which so are no part of the duration. Then some are
interrupted with ``SIGINT``, as Ctrl-C does. Prints a table and one JSON line; ``--output`` keeps the line. What is
counted:

- ``repeated``: trials that the killed run had begun or finished and that the next run made (again).
- ``rewritten``: files of finished measurements that the next run wrote anew.
- ``corrupt``: files that cannot be read afterwards, and artifacts that do not run.
- ``left``: half-written files and scratch folders afterwards; ``orphans``: processes that outlived the kill.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnx.reference
import psutil
from onnx import numpy_helper
from onnx.parser import parse_model

import assay.cli.study  # noqa: F401 - imported once for all runs
from assay.backends.table import load_backend
from assay.cli.program import INTERRUPTED, main
from assay.core.errors import AssayError
from assay.core.target import Target
from assay.measure.machine import describe_machine
from assay.studies.files import read_arrays
from assay.studies.store import load_record

MODEL = """
<ir_version: 10, opset_import: ["" : 18]>
small (float[batch, 3, SIDE, SIDE] image) => (float[batch, 6] logits) {
  c1 = Conv<pads = [1, 1, 1, 1]>(image, w1)
  r1 = Relu(c1)
  c2 = Conv<pads = [1, 1, 1, 1]>(r1, w2)
  a = Add(c2, r1)
  r2 = Relu(a)
  p = GlobalAveragePool(r2)
  f = Flatten(p)
  logits = Gemm(f, w3, b3)
}
"""
SIDES, CHANNELS, ITEMS, CALIBRATION = (12, 16), (32, 96), (300, 900), 40
"""Of the images and the layers, and items for evaluating: without a search, and with one."""
KEPT = (
    "trials/*.json",
    "mixed/*.measured.json",
    "timings*.json",
    "fitness*.json",
    "convergence.json",
    "calibration*.npz",
    "reference.json",
)
ENDINGS = (signal.SIGKILL, signal.SIGINT)
ORPHAN_SECONDS = 5.0


@dataclass(frozen=True)
class Row:
    """One study that was ended at a moment and run again.

    Attributes:
        moment_s: since its start.
        stage: what was there when it ended.
        status: of the ended run: -9 for a killed one.
        resumed: status of the next run.
        stored: trials that were finished.
        known: trials that the next run said to know.
    """

    moment_s: float
    stage: str
    status: int
    resumed: int
    stored: int
    known: int
    repeated: int
    rewritten: tuple[str, ...]
    corrupt: tuple[str, ...]
    left: tuple[str, ...]
    orphans: int
    same: bool


def write_files(folder: Path, rng: np.random.Generator, *, search: bool) -> None:
    """The network, calibration items, and evaluation items with its own answers as labels.

    For a search, answers are centred, so that the items fall into many classes and integers change some of them.
    """
    model = parse_model(MODEL.replace("SIDE", str(SIDES[search])))
    side, channels, items = SIDES[search], CHANNELS[search], ITEMS[search]
    shapes = {"w1": (channels, 3, 3, 3), "w2": (channels, channels, 3, 3), "w3": (channels, 6), "b3": (6,)}
    for name, shape in shapes.items():
        values = rng.normal(0, 0.4 if name != "b3" else 0.0, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    images = rng.normal(0, 1, (items, 3, side, side)).astype(np.float32)
    if search:
        mean = onnx.reference.ReferenceEvaluator(model).run(None, {"image": images})[0].mean(axis=0)
        model.graph.initializer[-1].CopyFrom(numpy_helper.from_array(-mean, "b3"))
    onnx.save(model, folder / "small.onnx")
    evaluator = onnx.reference.ReferenceEvaluator(str(folder / "small.onnx"))
    target_ids = np.argmax(evaluator.run(None, {"image": images})[0], axis=1).astype(np.int64)
    np.savez(folder / "calibration.npz", image=rng.normal(0, 1, (CALIBRATION, 3, side, side)).astype(np.float32))
    np.savez(folder / "evaluation.npz", image=images, target=target_ids)


def make_command(folder: Path, output: Path, *, search: bool) -> list[str]:
    """The command line of the study; with a search, INT8 alone misses the tolerance."""
    options = {
        "--task": "classification",
        "--calibration": folder / "calibration.npz",
        "--evaluation": folder / "evaluation.npz",
        "--tolerance": "agreement: 10pp" if search else "top1: 20pp",
        "--minimize": "size",
        "--latency-seconds": 1,
        "--runtimes": "onnxruntime",
        "--precisions": "fp32,int8",
        "--ranges": "min-max",
        "--output": output,
    }
    if search:
        options |= {"--repairs": "bias", "--mixed-plans": 3}
    return ["assay", "study", str(folder / "small.onnx"), *(str(part) for pair in options.items() for part in pair)]


def start(command: list[str], said: Path) -> int:
    """Fork a process that runs the command; its number."""
    number = os.fork()
    if number:
        return number
    status = 1
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell starts in the background
    try:
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.argv = command
        main()
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(number: int) -> int:
    """Exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def find_stage(output: Path) -> str:
    """What a study was at, by what it has written."""
    if (output / "study.json").exists():
        return "reporting"
    if any(output.glob("measurements/*/timings.json")):
        return "certifying and confirming"
    if any(output.glob("artifacts/.scratch.*/mark")):
        return "timing"
    if any(output.glob("measurements/*/mixed/*")):
        return "searching for mixed plans"
    if any(output.glob("artifacts/*")) or any(output.glob("measurements/*/.realised.*")):
        return "trying candidates"
    return "calibrating" if any(output.glob("measurements/*/reference.json")) else "opening"


def count_begun(output: Path) -> int:
    """Trials that were begun and not stored."""
    built = [path for path in output.glob("artifacts/*") if not path.name.startswith(".scratch.")]
    stored = len(list(output.glob("measurements/*/trials/*.json")))
    return max(len(built) - stored, int(any(output.glob("measurements/*/.realised.*"))), 0)


def read_times(output: Path) -> dict[Path, int]:
    """When the files of finished measurements were written."""
    found = (path for pattern in KEPT for path in output.glob(f"measurements/*/{pattern}"))
    return {path: path.stat().st_mtime_ns for path in found if not path.name.startswith(".")}


def list_corrupt(output: Path, sample: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> tuple[str, ...]:
    """Files that cannot be read, and artifacts that do not run."""
    bad: list[str] = []
    for path in sorted(output.rglob("*")):
        try:
            if path.suffix == ".json":
                msgspec.json.decode(path.read_bytes())
            elif path.suffix == ".npz":
                read_arrays(path)
        except (AssayError, msgspec.DecodeError) as error:
            bad.append(f"{path.name}: {error}")
    for trial in load_record(output).trials:
        if trial.artifact:
            backend = load_backend(trial.candidate.runtime)
            try:
                with backend.open(output / "artifacts" / trial.artifact, Target(trial.candidate.runtime)) as session:
                    session.run({"image": sample})
            except AssayError as error:
                bad.append(f"{trial.id}: {error}")
    return tuple(bad)


def end_study(command: list[str], output: Path, moment_s: float, ending: signal.Signals) -> tuple[int, int, int]:
    """Run a study and end it at a moment: its status, trials begun and not stored, and processes that outlived it."""
    number = start(command, output.with_suffix(".first"))
    time.sleep(moment_s)
    family = psutil.Process(number).children(recursive=True)
    os.kill(number, ending)
    status = wait(number)
    alive = psutil.wait_procs(family, timeout=ORPHAN_SECONDS)[1]
    return status, count_begun(output), len(alive)


def try_moment(
    command: list[str],
    folder: Path,
    output: Path,
    moment_s: float,
    ending: signal.Signals,
    decision: tuple[str, str | None],
) -> Row:
    """End a study at a moment, run it again, and look at what there is."""
    status, begun, orphans = end_study(command, output, moment_s, ending)
    stage, before = find_stage(output), read_times(output)
    stored = sum(path.parent.name == "trials" for path in before)
    resumed = wait(start(command, output.with_suffix(".second")))
    after = read_times(output)
    rewritten = tuple(sorted(path.name for path, written in before.items() if after.get(path) != written))
    with np.load(folder / "evaluation.npz") as data:
        sample = data["image"][:1]
    said = output.with_suffix(".second").read_text(encoding="utf-8")
    return Row(
        moment_s=round(moment_s, 3),
        stage=stage,
        status=status,
        resumed=resumed,
        stored=stored,
        known=stored if "nothing to do" in said else said.count("known from an earlier run"),
        repeated=begun + sum(path.parent.name == "trials" and after.get(path) != at for path, at in before.items()),
        rewritten=rewritten,
        corrupt=list_corrupt(output, sample) if resumed == 0 else ("no record",),
        left=tuple(path.name for path in output.rglob(".*") if path.name != ".lock"),
        orphans=orphans,
        same=resumed == 0 and read_decision(output) == decision,
    )


def try_moments(
    folder: Path,
    moments: list[tuple[signal.Signals, float]],
    decision: tuple[str, str | None],
    jobs: int,
    *,
    search: bool,
) -> list[Row]:
    """A row for each moment, several of them at a time, each in a process of its own."""
    running: dict[int, int] = {}
    rows: dict[int, Row] = {}
    for index, (ending, moment_s) in enumerate(moments):
        while len(running) >= jobs:
            collect(folder, running, rows)
        number = os.fork()
        if not number:
            left = 1
            try:
                output = folder / f"study{index}"
                command = make_command(folder, output, search=search)
                row = try_moment(command, folder, output, moment_s, ending, decision)
                (folder / f"row{index}").write_bytes(msgspec.json.encode(row))
                left = 0
            finally:
                os._exit(left)
        running[number] = index
    while running:
        collect(folder, running, rows)
    return [rows[index] for index in range(len(moments))]


def collect(folder: Path, running: dict[int, int], rows: dict[int, Row]) -> None:
    """Wait for one of the running moments, and print its row."""
    number, status = os.wait()
    if status:
        raise SystemExit(f"the moment {running[number]} was not finished")
    index = running.pop(number)
    rows[index] = msgspec.json.decode((folder / f"row{index}").read_bytes(), type=Row)
    print_row(rows[index])


def read_decision(output: Path) -> tuple[str, str | None]:
    """Status and choice of a finished study."""
    decision = load_record(output).decision
    return str(decision.status), decision.chosen


def print_row(row: Row) -> None:
    """One line of the table."""
    trouble = ", ".join((*row.rewritten, *row.corrupt, *row.left)) or "none"
    print(
        f"{row.moment_s:8.2f}  {row.stage:26s} {row.status:4d} {row.stored:6d} {row.known:5d} {row.repeated:8d} "
        f"{row.orphans:7d}  {'same' if row.same else 'OTHER':5s}  {trouble}",
        flush=True,
    )


def summarise(rows: list[Row]) -> dict[str, object]:
    """What must show: all the same, nothing lost."""
    return {
        "runs": len(rows),
        "same_decision": sum(row.same for row in rows),
        "corrupt": sum(len(row.corrupt) for row in rows),
        "left": sum(len(row.left) for row in rows),
        "rewritten": sum(len(row.rewritten) for row in rows),
        "orphans": sum(row.orphans for row in rows),
        "most_repeated_trials": max((row.repeated for row in rows), default=0),
        "known_are_stored": all(row.known == row.stored for row in rows),
        "stages": {stage: sum(row.stage == stage for row in rows) for stage in sorted({row.stage for row in rows})},
    }


def run() -> None:
    """All moments, the table, the line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--interrupts", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="moments that are tried at a time")
    parser.add_argument("--search", action="store_true", help="a tolerance that only mixed plans keep")
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    with tempfile.TemporaryDirectory(prefix="assay-") as name:
        folder = Path(name)
        # Times of groups of nodes are kept over studies: what is measured once decides for all.
        os.environ["ASSAY_CACHE"] = str(folder / "cache")
        write_files(folder, rng, search=asked.search)
        started = time.monotonic()
        status = wait(start(make_command(folder, folder / "whole", search=asked.search), folder / "whole.first"))
        whole_s = time.monotonic() - started
        if status:
            raise SystemExit((folder / "whole.first").read_text(encoding="utf-8"))
        decision = read_decision(folder / "whole")
        print(f"a whole study takes {whole_s:.1f} s and ends in {decision}\n")
        print("  moment  stage                      exit stored known repeated orphans  decision  trouble")
        endings = [signal.SIGKILL] * asked.kills + [signal.SIGINT] * asked.interrupts
        moments = rng.uniform(0, whole_s, len(endings)).tolist()
        found = try_moments(folder, list(zip(endings, moments, strict=True)), decision, asked.jobs, search=asked.search)
        rows = {ending: [row for one, row in zip(endings, found, strict=True) if one is ending] for ending in ENDINGS}
        clean = sum(row.status in (0, INTERRUPTED) for row in rows[signal.SIGINT])
    line = {
        "bench": "kill_resume",
        "machine": describe_machine().facts(),
        "seed": asked.seed,
        "whole_study_s": round(whole_s, 2),
        "decision": decision,
        "killed": summarise(rows[signal.SIGKILL]),
        "interrupted": {**summarise(rows[signal.SIGINT]), "clean_exits": clean},
        "rows": {ending.name: [asdict(row) for row in found] for ending, found in rows.items()},
    }
    print(json.dumps(line))
    if asked.output is not None:
        asked.output.write_text(json.dumps(line, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run()

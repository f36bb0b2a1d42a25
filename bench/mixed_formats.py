"""What BF16 and FP32 cost and lose in the kept part of an INT8 plan, and what telling them node by node costs.

Run: ``python bench/mixed_formats.py`` or ``... STUDY.toml [STUDY.toml ...] --batch 1 --rounds 60``. Groups of the
runtime's first INT8 form are kept in some patterns: every fourth, every second, the first half, all. Each pattern is
built with what is kept in FP32, in BF16 by the runtime's hint for the whole rest, and in BF16 by types in the graph;
and some with FP32 and BF16 side by side. All artifacts are open in one process on one thread and take turns; what is
told is the CPU time of a call relative to the BF16 model, median over rounds, which other work on the machine hardly
moves. Noise is the relative power of the error of the outputs, beside FP32.

Prints a table and one JSON line; ``--output`` keeps the line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from assay.backends.table import load_backend
from assay.core.plan import Plan
from assay.core.precision import CastStyle, Precision
from assay.core.session import Session
from assay.core.target import Target
from assay.graph.realise import realise
from assay.graph.save import save_model
from assay.measure.machine import describe_machine
from assay.measure.noise import NoiseMeter

from sensitivity import SUBJECTS, Case, Subject, load_subject, make_case  # isort: skip

RUNTIME = "openvino"
WARM_UP = 5
BASE = "bf16"
FP32, BF16 = Precision.FP32, Precision.BF16


@dataclass(frozen=True)
class Kept:
    """What a form keeps.

    Attributes:
        rest: format of what is not quantized, where no type says otherwise.
        formats: of each group; None for INT8.
    """

    rest: Precision
    formats: tuple[Precision | None, ...]


def list_forms(groups: int) -> dict[str, Kept]:
    """Name -> what is kept of so many groups."""
    patterns = {
        "every 4th": [index % 4 == 0 for index in range(groups)],
        "every 2nd": [index % 2 == 0 for index in range(groups)],
        "first half": [index < groups // 2 for index in range(groups)],
        "all": [True] * groups,
    }
    forms = {"int8": Kept(BF16, (None,) * groups)}
    for name, kept in patterns.items():
        forms[f"{name} in fp32"] = Kept(FP32, tuple(FP32 if one else None for one in kept))
        forms[f"{name} in bf16, hint"] = Kept(BF16, tuple(BF16 if one else None for one in kept))
        forms[f"{name} in bf16, types"] = Kept(FP32, tuple(BF16 if one else None for one in kept))
    quarters = [index % 4 for index in range(groups)]
    forms["every 4th in fp32, others bf16"] = Kept(FP32, tuple(FP32 if place == 0 else BF16 for place in quarters))
    forms["every 4th in fp32, every 4th bf16"] = Kept(FP32, tuple({0: FP32, 2: BF16}.get(place) for place in quarters))
    return forms


def make_models(subject: Subject, case: Case) -> Iterator[tuple[str, Plan, ir.Model]]:
    """All forms with their plans."""
    yield "fp32", Plan(FP32), subject.model
    bf16 = Plan(BF16, cast=CastStyle.HINT)
    yield BASE, bf16, realise(subject.model, bf16)
    groups = case.grouping.groups
    for name, kept in list_forms(len(groups)).items():
        pairs = zip(groups, kept.formats, strict=True)
        overrides = tuple((node, found) for group, found in pairs if found is not None for node in group.nodes)
        plan = replace(case.plan, rest=kept.rest, overrides=overrides)
        yield name, plan, realise(subject.model, plan, subject.calibration, case.ranges)


@contextmanager
def open_all(subject: Subject, case: Case, batch: int) -> Iterator[dict[str, Session]]:
    """Every form, built and opened on one thread."""
    backend, target = load_backend(RUNTIME), Target(runtime=RUNTIME, batch=batch)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        sessions = {}
        for number, (name, plan, model) in enumerate(make_models(subject, case)):
            path, built = Path(folder, f"{number}.onnx"), Path(folder, str(number))
            built.mkdir()
            save_model(model, path)
            backend.build(path, built, plan, target)
            sessions[name] = stack.enter_context(backend.open(built, target))
        yield sessions


def measure_times(sessions: Mapping[str, Session], feeds: dict[str, np.ndarray], rounds: int) -> dict[str, float]:
    """CPU time of a call relative to the BF16 model's, median over rounds of alternating order."""
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    order = list(sessions)
    for number in range(WARM_UP + rounds):
        for name in order if number % 2 else reversed(order):
            began = time.process_time()
            sessions[name].run(feeds)
            seconds[name].append(time.process_time() - began)
    base = np.asarray(seconds[BASE][WARM_UP:])
    return {name: float(np.median(np.asarray(values[WARM_UP:]) / base)) for name, values in seconds.items()}


def measure_noises(sessions: Mapping[str, Session], subject: Subject, batch: int) -> dict[str, float]:
    """Relative noise power of every form."""
    meters = {name: NoiseMeter() for name in sessions}
    for part in subject.items.batches(batch):
        reference = sessions["fp32"].run(part.feeds)
        for name, session in sessions.items():
            meters[name].add(reference, session.run(part.feeds))
    return {name: meter.noise for name, meter in meters.items()}


def run_subject(subject: Subject, batch: int, rounds: int) -> dict[str, object]:
    """Rows of one model, printed."""
    case = make_case(subject, RUNTIME)
    with open_all(subject, case, batch) as sessions:
        feeds = dict(next(iter(subject.items.batches(batch))).feeds)
        times = measure_times(sessions, feeds, rounds)
        noises = measure_noises(sessions, subject, batch)
        shares = {name: dict(session.executed(feeds).shares()) for name, session in sessions.items()}
    print(f"{subject.name}, batch {batch}, {len(case.grouping.groups)} groups")
    for name, ratio in times.items():
        ran = ", ".join(f"{share:.0%} {precision}" for precision, share in shares[name].items() if share)
        print(f"  {name:34} | {ratio:.3f} | {noises[name]:.2e} | {ran}", flush=True)
    forms = {name: {"time": times[name], "noise": noises[name], "ran": shares[name]} for name in times}
    return {"model": subject.name, "batch": batch, "groups": len(case.grouping.groups), "forms": forms}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    subjects = [(study, "") for study in options.studies] or list(SUBJECTS)
    print("form | CPU time over BF16's | noise | what ran")
    rows = [
        run_subject(load_subject(study, model, options.items), options.batch, options.rounds)
        for study, model in subjects
    ]
    line = json.dumps({"machine": describe_machine().facts(), "rounds": options.rounds, "rows": rows})
    print(line)
    if options.output is not None:
        options.output.write_text(line + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

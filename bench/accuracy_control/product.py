"""Assay's part: a whole study, every stage with its seconds, and its artifacts scored as NNCF's are."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import assay
from accuracy_control.cases import Case, holds
from accuracy_control.results import Row
from assay.backends.table import load_backend
from assay.core.target import Target
from assay.core.tensor import Array
from assay.core.trial import Trial, TrialStatus

STEP = "other"
"""Where a study tells of no stage: its own name in the table of seconds."""


@dataclass
class Stamps:
    """A listener that keeps when what was told, and how long each stage took.

    Attributes:
        lines: seconds since the start, and what was said.
        stages: seconds of each stage, by its label without what differs between trials.
    """

    began: float = field(default_factory=time.perf_counter)
    lines: list[tuple[float, str]] = field(default_factory=list)
    stages: list[tuple[str, float, float]] = field(default_factory=list)
    _open: list[tuple[str, float]] = field(default_factory=list)

    def start(self, label: str, total: int | None) -> None:
        """A stage begins."""
        del total
        self._open.append((label, self.now))

    def advance(self, steps: int = 1) -> None:
        """Steps are not kept."""

    def finish(self) -> None:
        """The last stage that began ends."""
        label, since = self._open.pop()
        self.stages.append((label, since, self.now))

    def say(self, text: str) -> None:
        """A line."""
        self.lines.append((self.now, text))
        print(f"{self.now:7.1f} {text}", file=sys.stderr, flush=True)

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.began

    def summarise(self, whole: float) -> dict[str, float]:
        """Stage -> seconds; what no stage covers is ``other``."""
        spent: dict[str, float] = {}
        for label, since, until in self.stages:
            # "TRIAL: certifying" and "timing 9 artifacts in rounds" are one stage for all trials.
            name = label.rsplit(": ", 1)[-1].split(" ")[0].strip(",:")
            spent[name] = spent.get(name, 0.0) + until - since
        return {**spent, STEP: whole - sum(spent.values())}


def run_study(case: Case, folder: Path, threads: int, latency_seconds: float) -> Row:
    """A study of OpenVINO's forms on the same items, from the model file to the decision."""
    reference = np.load(folder / "reference.npy")
    output = folder / "study"
    shutil.rmtree(output, ignore_errors=True)
    stamps = Stamps()
    study = assay.study(
        case.model,
        task=case.task,
        evaluation=case.evaluation,
        calibration=case.calibration,
        preprocess=case.preprocess,
        tolerance=f"{case.metric}: {100 * case.tolerance:g}pp",
        output=output,
        progress=stamps,
        runtimes=("openvino",),
        batch=1,
        threads=threads,
        latency_seconds=latency_seconds,
        accept_unfit=True,
        accept_unresolvable=True,
    )
    seconds = stamps.now
    working = [trial for trial in study.record.trials if trial.status is TrialStatus.OK]
    trials = [describe_trial(case, trial, output, reference, threads) for trial in working]
    for row in trials:
        row["at"] = next((at for at, line in stamps.lines if line.startswith(f"{row['trial']}: ")), None)
    return {
        "seconds": seconds,
        "status": str(study.decision.status),
        "sentence": study.decision.sentence,
        "chosen": study.decision.chosen,
        "stages": stamps.summarise(seconds),
        "trials": trials,
        "first": find_first(case, trials),
        "pick": pick(case, trials, study.decision.chosen),
        "lines": stamps.lines,
        "steps": stamps.stages,
    }


def describe_trial(case: Case, trial: Trial, output: Path, reference: Array, threads: int) -> Row:
    """A trial with its metric over all items, read off its artifact."""
    folder = output / "artifacts" / trial.artifact
    with load_backend("openvino").open(folder, Target("openvino", threads=threads)) as session:
        outputs = (session.run(one) for one in case.evaluation_feeds)
        said = np.concatenate([next(iter(found.values())) for found in outputs])
    evidence = trial.evidence
    certificate = None if evidence is None else evidence.certificate
    timing = None if evidence is None else evidence.latency
    return {
        "trial": trial.id,
        "artifact": str(folder),
        "metric": case.judge(said, reference)[0],
        "kept": len(trial.candidate.plan.overrides),
        "reference": trial.reference,
        "p50_ms": None if timing is None else timing.p50.value,
        "certificate": None if certificate is None else str(certificate.status),
    }


def find_first(case: Case, trials: Sequence[Row]) -> Row | None:
    """The first plan, FP32 apart, that holds as NNCF judges: the metric over all items within the tolerance."""
    holding = [row for row in trials if holds(case, row["metric"]) and not row["reference"] and row["at"] is not None]
    return min(holding, key=lambda row: row["at"], default=None)


def pick(case: Case, trials: Sequence[Row], chosen: str | None) -> Row | None:
    """The plan that Assay chose; where it certified none, the fastest that holds as NNCF judges."""
    by_name = {row["trial"]: row for row in trials}
    if chosen is not None:
        return by_name[chosen]
    holding = [row for row in trials if holds(case, row["metric"]) and row["p50_ms"] is not None]
    return min(holding, key=lambda row: row["p50_ms"], default=None)

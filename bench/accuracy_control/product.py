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
        tolerance=f"{case.metric}: {case.tolerance:g}",
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
    judge = Judge(case, reference, threads)
    trials = [describe_trial(trial, stamps, output) for trial in working]
    first, picked = find_first(judge, trials), pick(judge, trials, study.decision.chosen)
    return {
        "seconds": seconds,
        "status": str(study.decision.status),
        "sentence": study.decision.sentence,
        "chosen": study.decision.chosen,
        "stages": stamps.summarise(seconds),
        "trials": trials,
        "first": first,
        "pick": picked,
        "lines": stamps.lines,
        "steps": stamps.stages,
    }


def describe_trial(trial: Trial, stamps: Stamps, output: Path) -> Row:
    """A trial in a table, with the seconds after which it had been built and scored on the search items."""
    evidence = trial.evidence
    certificate = None if evidence is None else evidence.certificate
    timing = None if evidence is None else evidence.latency
    return {
        "trial": trial.id,
        "artifact": str(output / "artifacts" / trial.artifact),
        "kept": len(trial.candidate.plan.overrides),
        "reference": trial.reference,
        "at": next((at for at, line in stamps.lines if line.startswith(f"{trial.id}: ")), None),
        "p50_ms": None if timing is None else timing.p50.value,
        "certificate": None if certificate is None else str(certificate.status),
    }


@dataclass
class Judge:
    """Scores artifacts over all items, as NNCF's models are scored, and writes the metric into their rows."""

    case: Case
    reference: Array
    threads: int

    def holds(self, row: Row) -> bool:
        """Whether the metric over all items is within the tolerance; outside the study's own seconds."""
        if "metric" not in row:
            with load_backend("openvino").open(
                Path(row["artifact"]), Target("openvino", threads=self.threads)
            ) as session:
                outputs = (session.run(one) for one in self.case.evaluation_feeds)
                said = np.concatenate([next(iter(found.values())) for found in outputs])
            row["metric"] = self.case.judge(said, self.reference)[0]
        return holds(self.case, row["metric"])


def find_first(judge: Judge, trials: Sequence[Row]) -> Row | None:
    """The first plan, FP32 apart, that holds as NNCF judges."""
    tried = sorted((row for row in trials if row["at"] is not None and not row["reference"]), key=lambda row: row["at"])
    return next((row for row in tried if judge.holds(row)), None)


def pick(judge: Judge, trials: Sequence[Row], chosen: str | None) -> Row | None:
    """The plan that Assay chose; where it certified none, the fastest that holds as NNCF judges."""
    for row in trials:
        if row["trial"] == chosen:
            judge.holds(row)
            return row
    timed = sorted((row for row in trials if row["p50_ms"] is not None), key=lambda row: row["p50_ms"])
    return next((row for row in timed if judge.holds(row)), None)

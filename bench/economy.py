"""How few items sequential certificates take, and whether they decide as an evaluation of every item does.

Run: ``python bench/economy.py [residual separable mnist] [--packages DIR]``. For every pair one study is built and
timed; then, for every tolerance, the candidates are certified as a study does it (search split, fixed sequence, early
stopping), and, apart from that, every candidate is scored on every item and decided by the exact test of all of them.
Reported are the items that each candidate took, as a share of all, and both decisions. Prints a table and one JSON
line; ``--output`` keeps the line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from assay.core.certificate import CertificateStatus
from assay.core.decision import Decision
from assay.core.requirements import Requirements, Tolerance
from assay.core.trial import Trial
from assay.data.source import DataSource, Preprocess
from assay.decide.conclude import conclude
from assay.decide.objective import tell_apart
from assay.measure.certification import Certified
from assay.measure.machine import describe_machine
from assay.measure.statistics.paired import compare
from assay.studies.attempt import Attempt
from assay.studies.certifying import certify_trials
from assay.studies.concluding import describe_reference, finish_trial, search_trials
from assay.studies.loop import try_candidates
from assay.studies.opening import open_workspace
from assay.studies.progress import Silent
from assay.studies.request import StudyRequest
from assay.studies.scoring import ItemScorer
from assay.studies.timing import Timing, time_attempts
from assay.studies.workspace import Workspace

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TOLERANCES = ("0.3pp", "0.5pp", "1pp", "2pp", "1%")
MOST_SHARE = 0.35


@dataclass(frozen=True)
class Pair:
    """A trained model with labelled data."""

    name: str
    model: Path
    calibration: DataSource
    evaluation: DataSource
    batch: int


@dataclass(frozen=True)
class Row:
    """What one tolerance took.

    Attributes:
        shares: share of all items that each candidate took.
        seconds: wall time of certifying from stored scores.
    """

    pair: str
    tolerance: str
    items: int
    shares: tuple[float, ...]
    sequential: str
    full: str
    agrees: bool
    seconds: float

    @property
    def median(self) -> float:
        """Median share over the candidates."""
        return statistics.median(self.shares)


def fashion(name: str) -> Pair:
    """A bundled network."""
    folder = EXAMPLES / "fashion"
    gray = Preprocess(scale=255, mean=(0.2860,), std=(0.3530,))
    sources = [DataSource(str(folder / f"{part}.npz"), gray) for part in ("calibration", "evaluation")]
    return Pair(name, folder / f"{name}.onnx", *sources, batch=32)


def efficientnet() -> Pair:
    """EfficientNet-Lite0 on the photographs that ``examples/imagenet/fetch.py`` makes."""
    folder = EXAMPLES / "imagenet" / "files"
    prepared = Preprocess(mean=(127,), std=(128,))
    sources = [DataSource(str(folder / f"{part}.npz"), prepared) for part in ("calibration", "evaluation")]
    return Pair("efficientnet", folder / "efficientnet_lite0.onnx", *sources, batch=1)


def open_study(pair: Pair, folder: Path) -> tuple[Workspace, tuple[Attempt, ...], Mapping[str, Timing]]:
    """Build, probe, search and time all candidates of a pair."""
    request = StudyRequest(
        model=pair.model,
        output=folder,
        task="classification",
        evaluation=pair.evaluation,
        calibration=pair.calibration,
        requirements=Requirements(Tolerance.parse("top1: 0.5pp")),
        batch=pair.batch,
        latency_seconds=30.0,
        accept_unresolvable=True,
    )
    space = open_workspace(request, Silent())
    return space, *time_attempts(space, try_candidates(space))


def decide_sequentially(
    space: Workspace, attempts: Sequence[Attempt], timings: Mapping[str, Timing]
) -> tuple[Decision, tuple[Trial, ...], Mapping[str, Certified]]:
    """As a study does it."""
    searched = search_trials(space, attempts, timings)
    certified, _ = certify_trials(space, searched)
    trials = tuple(finish_trial(space, describe_reference(space, t), certified.get(t.id)) for t in searched)
    return conclude(space.request.requirements, trials), trials, certified


def decide_fully(space: Workspace, trials: Sequence[Trial]) -> Decision:
    """Every candidate on every item, each by the exact test at the whole error rate."""
    count, metric, confidence = len(space.split), space.metric, space.request.requirements.confidence
    base = next(trial for trial in trials if trial.reference)
    with ItemScorer(space, base.candidate, space.store.artifact(base.artifact)) as scorer:
        reference = scorer.score(count)
    decided: list[Trial] = []
    for trial in trials:
        if trial.evidence is None or trial.reference:
            decided.append(trial)
            continue
        with ItemScorer(space, trial.candidate, space.store.artifact(trial.artifact)) as scorer:
            quality = compare(metric, reference, scorer.score(count), confidence)
        decided.append(replace(trial, evidence=replace(trial.evidence, quality=quality, certificate=None)))
    return conclude(space.request.requirements, decided)


def count_items(trials: Sequence[Trial], search: int) -> list[int]:
    """Items that each candidate took; FP32 is not counted, since it is what all are compared with."""
    counts = []
    for trial in trials:
        certificate = None if trial.evidence is None else trial.evidence.certificate
        if certificate is None:
            continue
        certifying = certificate.order > 0 and certificate.status is not CertificateStatus.UNTESTED
        counts.append(search + certificate.n if certifying else search)
    return counts


def name(decision: Decision) -> str:
    """The choice in short."""
    return decision.chosen or str(decision.status)


def measure(pair: Pair, folder: Path) -> list[Row]:
    """All tolerances of a pair; the full evaluation comes last, so that it lends no scores to the others."""
    space, attempts, timings = open_study(pair, folder)
    found = []
    for text in TOLERANCES:
        requirements = replace(space.request.requirements, tolerance=Tolerance.parse(f"top1: {text}"))
        asked = replace(space, request=replace(space.request, requirements=requirements))
        decide_sequentially(asked, attempts, timings)
        started = time.perf_counter()
        decision, trials, _ = decide_sequentially(asked, attempts, timings)
        found.append((asked, text, decision, trials, time.perf_counter() - started))
    rows = []
    for asked, text, decision, trials, seconds in found:
        full = decide_fully(asked, trials)
        total = len(asked.split)
        rows.append(
            Row(
                pair=pair.name,
                tolerance=text,
                items=total,
                shares=tuple(count / total for count in count_items(trials, asked.split.search)),
                sequential=name(decision),
                full=name(full),
                agrees=agree(asked.request.requirements, decision, full, trials),
                seconds=seconds,
            )
        )
    return rows


def agree(requirements: Requirements, one: Decision, other: Decision, trials: Sequence[Trial]) -> bool:
    """The same choice, or one that the objective cannot tell from it: noise may choose between those."""
    if one.chosen is None or other.chosen is None:
        return one.chosen == other.chosen
    chosen = [next(t for t in trials if t.id == decision.chosen) for decision in (one, other)]
    first, second = (t.evidence for t in chosen)
    same = chosen[0].candidate.plan.precision is chosen[1].candidate.plan.precision
    return same and first is not None and second is not None and not tell_apart(requirements, first, second)


def main() -> None:
    """Measure the pairs asked for."""
    known = {"residual": lambda: fashion("residual"), "separable": lambda: fashion("separable")}
    known["efficientnet"] = efficientnet
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="*", default=["residual", "separable"], choices=[*known, []])
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows: list[Row] = []
    for chosen in arguments.pairs:
        with tempfile.TemporaryDirectory(prefix="assay-economy-") as folder:
            rows += measure(known[chosen](), Path(folder))
    print(f"{'pair':13} {'tolerance':9} {'items':>6} {'median':>7} {'most':>6}  sequential / full")
    for row in rows:
        mark = "" if row.agrees else "  DIFFERS"
        print(
            f"{row.pair:13} {row.tolerance:9} {row.items:6} {row.median:7.1%} {max(row.shares):6.1%}  "
            f"{row.sequential} / {row.full}{mark}"
        )
    line = {
        "bench": "economy",
        "most_share": MOST_SHARE,
        "median_share": statistics.median(share for row in rows for share in row.shares),
        "rows": [
            {"median": row.median, **{key: getattr(row, key) for key in row.__dataclass_fields__}} for row in rows
        ],
        "machine": dict(describe_machine().facts()),
    }
    text = json.dumps(line)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

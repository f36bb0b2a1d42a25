"""A study's search over mixed plans for one tolerance, and what it would predict of every subset."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assay.calibrate.ranges import solve_ranges
from assay.core.plan import Candidate, Plan
from assay.core.precision import Precision
from assay.core.trial import TrialStatus
from assay.data.subset import every
from assay.graph.groups import find_groups
from assay.graph.realise import list_nonfinite
from assay.graph.simulate import simulate
from assay.studies.attempt import realise_plan
from assay.studies.loop import Trier
from assay.studies.mixed_form import MixedForm, find_plain
from assay.studies.mixing import search_mixed
from assay.studies.progress import Silent
from assay.studies.sensitivities import Questions, measure_settings, open_passes
from subsets.ground import Ground, Settings, open_ground


@dataclass(frozen=True)
class Try:
    """A plan that the search built.

    Attributes:
        subset: that it keeps in floats.
        predicted_ms: of one call.
        noise: simulated.
        share: of the tolerance that it was aimed at.
    """

    subset: int
    predicted_ms: float
    noise: float
    share: float


@dataclass(frozen=True)
class Search:
    """One search.

    Attributes:
        tolerance: share of 1.
        tries: in order; none where the form with all groups quantized strained nothing.
        measuring_s: wall time of sensitivities and costs.
        seconds: of all of it, builds and scores too.
        predicted_ms: subset -> time of a call, for all of them, from the measured costs.
        predicted_noise: likewise, from the fitted sensitivities.
    """

    tolerance: float
    tries: tuple[Try, ...]
    measuring_s: float
    seconds: float
    stopped: str
    predicted_ms: Mapping[int, float]
    predicted_noise: Mapping[int, float]


def run_search(settings: Settings, tolerance: float) -> Search:
    """Search in a fresh study whose candidates are FP32 and the form itself.

    Args:
        settings: what is searched.
        tolerance: share of 1 that may be lost.
    """
    name = f"{100 * tolerance:.6g}"
    ground = open_ground(settings, f"{name}pp", f"searches/{name}")
    space = ground.space
    # Each search measures times itself, as the first one on a machine would.
    os.environ["ASSAY_CACHE"] = str(settings.work / "searches" / name / "cache")
    trier = Trier(space, attempts := [])
    reference = trier(Candidate(settings.runtime, Plan(Precision.FP32)))
    base = trier(Candidate(settings.runtime, ground.plan))
    if TrialStatus.FAILED in (reference.status, base.status):
        raise SystemExit(f"{reference.reason} {base.reason}")
    began = time.perf_counter()
    found = search_mixed(space, attempts, reference.candidate, trier)
    seconds = time.perf_counter() - began
    if not found:
        return Search(tolerance, (), 0.0, seconds, "the form strains nothing", {}, {})
    plans = {attempt.candidate.id: attempt.candidate.plan for attempt in attempts}
    tries = tuple(
        Try(find_subset(ground, plans[plan.trial]), plan.predicted_ms, plan.noise, plan.share)
        for plan in found[0].plans
    )
    forms = find_plain(attempts, settings.runtime) | {Precision.INT8: base}
    with MixedForm(space, base.candidate, forms) as form:
        sack = form.make_sack(form.measure())
    mixes = {subset: ground.mix_of(subset) for subset in ground.subsets}
    return Search(
        tolerance=tolerance,
        tries=tries,
        measuring_s=found[0].seconds,
        seconds=seconds,
        stopped=found[0].stopped,
        predicted_ms={subset: sack.predict_ms(mix) for subset, mix in mixes.items()},
        predicted_noise={subset: sack.predict_noise(mix) for subset, mix in mixes.items()},
    )


def find_subset(ground: Ground, plan: Plan) -> int:
    """The subset of a plan that the search built; it must be one of those that were enumerated."""
    subset = ground.subset_of(plan)
    if subset is None:
        raise SystemExit(f"the search tried {plan.name}, which is none of the subsets")
    return subset


def simulate_all(ground: Ground, items: int) -> dict[int, float]:
    """Noise of every subset in the simulated model, without building them.

    Args:
        ground: what is searched.
        items: so many search items.
    """
    space, plan = ground.space, ground.plan
    if space.calibrator is None or plan.scheme is None:
        raise SystemExit("the study has no calibration data")
    observed = space.calibrator.observe(plan.scheme.repairs)
    ranges = solve_ranges(observed.calibration, plan.scheme)
    grouping = find_groups(observed.model, plan.scheme, ranges, list_nonfinite(observed.model, observed.calibration))
    simulated = simulate(observed.model, realise_plan(space, plan), grouping)
    chosen = every(space.evaluation, np.sort(space.split.order[:items]).tolist())
    questions = Questions(chosen, space.task, space.metric)
    settings = [
        np.array([precision is Precision.INT8 for precision in ground.mix_of(subset)]) for subset in ground.subsets
    ]
    with tempfile.TemporaryDirectory() as name, open_passes(simulated, Path(name)) as passes:
        damages = measure_settings(passes, questions, settings, Silent())
    return {subset: damage.noise for subset, damage in zip(ground.subsets, damages, strict=True)}

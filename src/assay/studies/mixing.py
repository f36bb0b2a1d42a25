"""The search over mixed plans: where the fastest INT8 form strains the tolerance, some of its groups stay in floats.

What its groups lose comes from one simulated model, what they take from the runtime itself. A mixed-integer program
puts the fastest plan together for a budget of noise; its noise is simulated before anything is built, since groups
that share tensors do not add up exactly. Then it is a candidate like any other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from assay.core.errors import BackendError
from assay.core.mixing import Mix, MixedPlan, MixedSearch
from assay.core.plan import Candidate
from assay.core.precision import Precision
from assay.core.trial import TrialStatus
from assay.decide.knapsack import solve
from assay.decide.mixed import WORTH, Exam, Point, Rung, Seen, count_kept, find_budget, next_budget, pick_bases
from assay.decide.resolve import find_deviation
from assay.measure.certification import losses_of
from assay.measure.noise import measure_loss
from assay.studies.attempt import Attempt
from assay.studies.certifying import compare_search
from assay.studies.mixed_form import MeasuredForm, MixedForm, find_plain
from assay.studies.scoring import read_scores
from assay.studies.workspace import Workspace

CORRECTIONS = 4
"""Times that the budget is corrected by what the simulation says of a plan, before it is built."""
CLOSE = 0.85
"""Part of a budget from which it is well used."""
OVER = 1.02
"""A plan's simulated noise may exceed the budget by this ratio: it is an estimate itself."""

LOOKS = 4
"""Budgets that are looked at for each plan that may be built: some lead to a plan that is known."""

Try = Callable[[Candidate], Attempt]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A mixed plan that is worth building.

    Attributes:
        milliseconds: of one call, predicted.
        noise: simulated for its INT8 groups, with that of its groups in a 16-bit format.
    """

    mix: Mix
    candidate: Candidate
    milliseconds: float
    noise: float


def search_mixed(
    space: Workspace, attempts: Sequence[Attempt], reference: Candidate, try_candidate: Try
) -> tuple[MixedSearch, ...]:
    """Try mixed plans for every runtime whose fastest INT8 form strains the tolerance, the fastest runtime first.

    Args:
        space: the study.
        attempts: all so far; what ``try_candidate`` tries must appear in it.
        reference: the FP32 model that the others are compared with.
        try_candidate: tries a candidate, or reads how it went.

    Raises:
        StoreError: the store cannot be written.
    """
    if not space.request.mixed.plans or space.calibrator is None:
        return ()
    exam = Exam(max(1, space.split.certification), NormalDist().inv_cdf(space.request.requirements.confidence))
    seen = look_at(space, attempts, reference)
    return tuple(
        search_form(space, attempts, base, exam, try_candidate, reference)
        for base in pick_bases(seen, exam)
        if base.candidate.runtime in {one.candidate.runtime for one in seen if is_plain_float(one)}
    )


def is_plain_float(seen: Seen) -> bool:
    """FP32: without it on a runtime there is nothing to measure its groups against."""
    return seen.candidate.plan.precision is Precision.FP32


def look_at(space: Workspace, attempts: Sequence[Attempt], reference: Candidate) -> tuple[Seen, ...]:
    """What the search items said of every candidate that ran."""
    return tuple(
        see(space, attempt, attempt.probe.quick_ms, reference)
        for attempt in attempts
        if attempt.status is TrialStatus.OK and attempt.probe is not None
    )


def see(space: Workspace, attempt: Attempt, latency_ms: float, reference: Candidate) -> Seen:
    """What the search items said of a candidate."""
    quality = compare_search(space, reference, attempt.candidate)
    margin = space.request.requirements.tolerance.margin(quality.reference)
    if attempt.candidate.plan.precision is Precision.FP32:
        return Seen(attempt.candidate, latency_ms, 0.0, 0.0, margin, quality.n)
    before, after = (read_scores(space, one).select(slice(0, quality.n)) for one in (reference, attempt.candidate))
    return Seen(
        attempt.candidate,
        latency_ms,
        loss=losses_of(quality)[0],
        variance=(find_deviation(quality) or 0.0) ** 2,
        margin=margin,
        items=quality.n,
        moved=measure_loss(before, after, space.metric),
    )


def search_form(
    space: Workspace, attempts: Sequence[Attempt], base: Seen, exam: Exam, try_candidate: Try, reference: Candidate
) -> MixedSearch:
    """Try mixed plans of one INT8 form."""
    began = time.monotonic()
    own = next(attempt for attempt in attempts if attempt.candidate == base.candidate)
    forms = find_plain(attempts, base.candidate.runtime) | {Precision.INT8: own}
    named = base.candidate.id
    space.progress.say(f"{named} strains the tolerance: looking for groups to leave in floats")
    with MixedForm(space, base.candidate, forms) as form:
        if form.obstacle:
            return MixedSearch(named, len(form.groups), 0, 0, 0.0, 0.0, (), form.obstacle)
        try:
            measured = form.measure()
        except BackendError as error:
            return MixedSearch(named, len(form.groups), 0, 0, 0.0, 0.0, (), f"its groups cannot be measured: {error}")
        space.progress.say(
            f"{named}: {len(form.groups)} groups measured in {measured.passes} passes of {measured.items} items, "
            f"{measured.seconds:.0f} s"
        )
        seen = look_at(space, attempts, reference)
        search = _Search(space, form, measured, seen, exam)
        for budget, chosen in search.propose(began):
            tried = try_candidate(chosen.candidate)
            ran = tried.status is TrialStatus.OK and tried.probe is not None
            found = see(space, tried, chosen.milliseconds, reference) if ran else None
            search.learn(chosen, budget, found)
    return search.summarise()


class _Search:
    """What is known while one form's plans are tried."""

    def __init__(
        self, space: Workspace, form: MixedForm, measured: MeasuredForm, seen: Sequence[Seen], exam: Exam
    ) -> None:
        self._space, self._form, self._exam, self._seen = space, form, exam, list(seen)
        everything = tuple(Precision.INT8 for _ in form.groups)
        self._measured, self._noise = form.simulate(measured, everything)
        finite = [noise for noise in self._measured.noises if noise is not None]
        self._ceiling = self._noise if math.isfinite(self._noise) else max(finite, default=0.0)
        self._rival_ms = min((one.latency_ms for one in seen if not one.strains(exam.items, exam.z)), default=math.inf)
        self._margin = next(one.margin for one in seen if one.candidate == form.base)
        self._points = self._list_points()
        self._known = {everything: False}
        self._rungs: list[Rung] = []
        self._plans: list[MixedPlan] = []
        self._stopped = ""

    def _list_points(self) -> list[Point]:
        """The form itself, and the runtime's forms in 16-bit formats."""
        noises = {self._form.base: self._noise}
        for one in self._seen:
            plain = one.candidate.runtime == self._form.base.runtime and one.candidate.plan.scheme is None
            whole = sum(self._measured.float_noise.get(one.candidate.plan.precision, ())) if plain else 0.0
            if whole > 0:
                noises[one.candidate] = whole
        known = {one.candidate: one for one in self._seen}
        return [Point(noise, known[name]) for name, noise in noises.items() if math.isfinite(noise)]

    def propose(self, began: float) -> Iterator[tuple[float, Chosen]]:
        """Plans worth building with their budgets, one after the other, as what was learned of those before tells."""
        budget = self._space.request.mixed
        for _ in range(LOOKS * budget.plans):
            wanted = next_budget(self._rungs, self._aim, self._ceiling)
            if wanted is None:
                self._stopped = "no plan lies between those that hold and those that do not"
                return
            if len(self._plans) >= budget.plans:
                self._stopped = f"its {budget.plans} plans are used up"
                return
            if time.monotonic() - began > budget.seconds:
                self._stopped = f"its {budget.seconds:g} s are used up"
                return
            chosen = self._choose(wanted)
            if chosen is None or Precision.INT8 not in chosen.mix:
                self._rungs.append(Rung(wanted, holds=True))
            elif chosen.mix in self._known:
                self._rungs.append(Rung(wanted, holds=self._known[chosen.mix]))
            elif chosen.milliseconds >= WORTH * self._rival_ms:
                self._rungs.append(Rung(wanted, holds=True))
                self._stopped = "no other mixed plan is predicted to beat what holds without one"
            else:
                self._say(chosen)
                yield wanted, chosen
        self._stopped = self._stopped or "no other plan was found"

    def _aim(self, share: float) -> float:
        """Noise at which the bound is expected to take a share of the tolerance."""
        return min(self._ceiling, find_budget(self._points, self._seen, self._exam, share * self._margin))

    def _say(self, chosen: Chosen) -> None:
        """Tell which plan is tried next."""
        self._space.progress.say(
            f"mixed plan {len(self._plans) + 1} of at most {self._space.request.mixed.plans}: "
            f"{count_kept(chosen.mix)} of {len(chosen.mix)} groups in floats, about {chosen.milliseconds:.2f} ms a call"
        )

    def learn(self, chosen: Chosen, budget: float, found: Seen | None) -> None:
        """Take in how a plan went: what the search items said of it, or that it failed."""
        trial, holds = chosen.candidate.id, False
        self._plans.append(MixedPlan(trial, count_kept(chosen.mix), chosen.milliseconds, chosen.noise, budget))
        if found is not None:
            self._points.append(Point(chosen.noise, found))
            self._seen.append(found)
            holds = found.bound(self._exam.items, self._exam.z) <= self._margin
        self._known[chosen.mix] = holds
        self._rungs.append(Rung(chosen.noise, holds))

    def summarise(self) -> MixedSearch:
        """What the search did."""
        measured = self._measured
        return MixedSearch(
            base=self._form.base.id,
            groups=len(self._form.groups),
            items=measured.items,
            passes=measured.passes,
            noise=self._noise if math.isfinite(self._noise) else -1.0,
            seconds=measured.seconds,
            plans=tuple(self._plans),
            stopped=self._stopped,
        )

    def _choose(self, budget: float) -> Chosen | None:
        """The fastest plan whose simulated noise keeps a budget."""
        best: Chosen | None = None
        target = budget
        for _ in range(CORRECTIONS):
            found = self._solve(target)
            if found is None:
                target *= 0.5
                continue
            sack = self._form.make_sack(self._measured)
            self._measured, own = self._form.simulate(self._measured, found.mix)
            noise = own + sack.sum_float_noise(found.mix)
            if noise <= OVER * budget and (best is None or found.milliseconds < best.milliseconds):
                best = Chosen(found.mix, found.candidate, found.milliseconds, noise)
            if CLOSE * budget <= noise <= OVER * budget or (noise <= budget and not count_kept(found.mix)):
                break
            target *= min(2.0, max(0.25, budget / noise)) if noise > 0 else 2.0
        return best

    def _solve(self, target: float) -> Chosen | None:
        """The fastest plan whose predicted noise keeps a target, in the formats that the runtime can mix."""
        sack = self._form.make_sack(self._measured)
        floats = self._form.list_floats()
        families = [(Precision.INT8, one) for one in floats] + ([(Precision.INT8, *floats)] if len(floats) > 1 else [])
        best: Chosen | None = None
        for family in families:
            mix = solve(sack, target, family)
            candidate = None if mix is None else self._form.compose(mix)
            if mix is None or candidate is None:
                continue
            milliseconds = sack.predict_ms(mix)
            if best is None or milliseconds < best.milliseconds:
                best = Chosen(mix, candidate, milliseconds, sack.predict_noise(mix))
        return best

"""The search over mixed plans: where the fastest INT8 form strains the tolerance, some of its groups stay in floats.

What its groups lose comes from one simulated model, what they take from the runtime itself. A mixed-integer program
puts the fastest plan together for a budget of noise; such plans and their neighbours are simulated on the search items
before one is built, since noise tells only roughly what a plan loses. Then it is a candidate like any other. What it
takes corrects the times of groups, and each further plan is the one that is expected to save the most time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist

from assay.core.errors import BackendError, MeasurementError, ModelError
from assay.core.mixing import MixedPlan, MixedSearch
from assay.core.plan import Candidate
from assay.core.precision import Precision
from assay.core.trial import TrialStatus
from assay.decide.learned_times import TimedPlan, learn_times
from assay.decide.mixed import (
    WORTH,
    Draft,
    Exam,
    Point,
    Seen,
    Toll,
    count_kept,
    find_budget,
    find_factor,
    pick_bases,
)
from assay.decide.resolve import find_deviation
from assay.measure.certification import losses_of
from assay.measure.noise import measure_loss
from assay.studies.attempt import Attempt
from assay.studies.certifying import compare_search
from assay.studies.drafting import Drafter
from assay.studies.mixed_form import MeasuredForm, MixedForm, find_plain
from assay.studies.prospecting import Prospector
from assay.studies.quick_times import list_quick_times
from assay.studies.retiming import PlanTimer
from assay.studies.scoring import read_scores
from assay.studies.workspace import Workspace

UNMEASURABLE = (BackendError, MeasurementError, ModelError)
"""What a model can be that none of its plans is simulated: the simulator refuses it, or no output is a float."""

Try = Callable[[Candidate], Attempt]


def search_mixed(
    space: Workspace,
    attempts: Sequence[Attempt],
    reference: Candidate,
    try_candidate: Try,
    done: Sequence[MixedSearch] = (),
) -> tuple[MixedSearch, ...]:
    """Try mixed plans for every runtime whose fastest INT8 form strains the tolerance, the fastest runtime first.

    Args:
        space: the study.
        attempts: all so far; what ``try_candidate`` tries must appear in it.
        reference: the FP32 model that the others are compared with.
        try_candidate: tries a candidate, or reads how it went.
        done: searches of this study: a runtime is searched again only where it has a much better form since.

    Raises:
        StoreError: the store cannot be written.
    """
    if not space.request.mixed.plans or space.calibrator is None:
        return ()
    exam = Exam(max(1, space.split.certification), NormalDist().inv_cdf(space.request.requirements.confidence))
    seen = look_at(space, attempts, reference)
    return tuple(
        search_form(space, attempts, base, exam, try_candidate, reference)
        for base in pick_bases(seen, exam, done)
        if base.candidate.runtime in {one.candidate.runtime for one in seen if is_plain_float(one)}
    )


def is_plain_float(seen: Seen) -> bool:
    """FP32: without it on a runtime there is nothing to measure its groups against."""
    return seen.candidate.plan.precision is Precision.FP32


def look_at(space: Workspace, attempts: Sequence[Attempt], reference: Candidate) -> tuple[Seen, ...]:
    """What the search items said of every candidate that ran."""
    times = list_quick_times(attempts)
    return tuple(
        see(space, attempt, times[attempt.candidate.id], reference)
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
    try:
        form = MixedForm(space, base.candidate, forms)
    except UNMEASURABLE as error:
        return give_up(named, 0, str(error))
    with form:
        if form.obstacle:
            return give_up(named, len(form.groups), form.obstacle)
        seen = look_at(space, attempts, reference)
        try:
            measured = form.measure()
            drafter = Drafter(space, form, measured, exam, Toll.of(seen))
        except UNMEASURABLE as error:
            return give_up(named, len(form.groups), str(error))
        space.progress.say(
            f"{named}: {len(form.groups)} groups measured in {measured.passes} passes of {measured.items} items, "
            f"{measured.seconds:.0f} s"
        )
        search = _Search(space, drafter, measured, base, seen, exam)
        timer = PlanTimer(space, base.candidate, forms)
        for share, draft in search.propose(began):
            tried = try_candidate(draft.candidate)
            search.note(draft, share)
            if tried.status is not TrialStatus.OK or tried.probe is None:
                continue
            search.learn(draft, see(space, tried, draft.milliseconds, reference))
            if search.goes_on:
                search.correct(timer.time(tried, draft.mix))
    return search.summarise()


def give_up(base: str, groups: int, reason: str) -> MixedSearch:
    """A search that could not even measure the groups."""
    return MixedSearch(base, groups, 0, 0, 0.0, 0, 0.0, (), reason)


class _Search:
    """What is known while one form's plans are tried."""

    def __init__(
        self,
        space: Workspace,
        drafter: Drafter,
        measured: MeasuredForm,
        base: Seen,
        seen: Sequence[Seen],
        exam: Exam,
    ) -> None:
        self._space, self._drafter, self._measured, self._base = space, drafter, measured, base
        self._exam, self._seen = exam, list(seen)
        self._rival_ms = min((one.latency_ms for one in seen if not one.strains(exam.items, exam.z)), default=math.inf)
        self._pairs = [(base, drafter.everything)] if math.isfinite(drafter.everything.noise) else []
        self._prospector = Prospector(drafter, base, seen, exam, Toll.of(seen))
        self._known = {drafter.everything.mix}
        self._plans: list[MixedPlan] = []
        self._runs: list[Sequence[TimedPlan]] = []
        self._stopped = ""

    @property
    def goes_on(self) -> bool:
        """Whether a further plan may be tried."""
        return len(self._plans) < self._space.request.mixed.plans

    def propose(self, began: float) -> Iterator[tuple[float, Draft]]:
        """Plans worth building with their shares of the tolerance, as what was learned of those before tells."""
        budget = self._space.request.mixed
        while self.goes_on:
            if time.monotonic() - began > budget.seconds:
                self._stopped = f"its {budget.seconds:g} s are used up"
                return
            found = self._choose()
            if found is None:
                self._stopped = "no other mixed plan is expected to save time beside what there is"
                return
            share, draft = found
            self._known.add(draft.mix)
            kept = count_kept(draft.mix)
            self._space.progress.say(
                f"mixed plan {len(self._plans) + 1} of at most {budget.plans}: {kept} of {len(draft.mix)} groups in "
                f"floats, about {draft.milliseconds:.2f} ms a call, expected to take {share:.0%} of the tolerance"
            )
            yield share, draft
        self._stopped = f"its {budget.plans} plans are used up"

    def note(self, draft: Draft, share: float) -> None:
        """Count a plan that was tried, however it went."""
        kept = count_kept(draft.mix)
        self._plans.append(MixedPlan(draft.candidate.id, kept, draft.milliseconds, draft.noise, share))

    def learn(self, draft: Draft, found: Seen) -> None:
        """Take in what the search items said of a plan."""
        self._pairs.append((found, draft))

    def correct(self, run: Sequence[TimedPlan]) -> None:
        """Predict times anew, with plans that were timed in turn."""
        self._runs.append(run)
        self._drafter.price(learn_times(self._measured.costs, self._runs))

    def summarise(self) -> MixedSearch:
        """What the search did."""
        measured, noise = self._measured, self._drafter.everything.noise
        return MixedSearch(
            base=self._base.candidate.id,
            groups=len(measured.groups),
            items=measured.items,
            passes=measured.passes,
            noise=noise if math.isfinite(noise) else -1.0,
            drafts=len(self._drafter.drafts),
            seconds=measured.seconds,
            plans=tuple(self._plans),
            stopped=self._stopped,
        )

    def _choose(self) -> tuple[float, Draft] | None:
        """The next plan with its share of the tolerance; None where none is worth a trial.

        The first plan is wanted soon, and tells how far simulations and what is built of them are apart.
        """
        first = not self._known - {self._drafter.everything.mix}
        try:
            aimed = self._aim(refine=not first or self._space.request.mixed.plans == 1)
            if first and aimed is not None and aimed.mix not in self._known and self._is_fast(aimed):
                return 1.0, aimed
            picked = self._prospector.pick(self._pairs, self._known)
        except UNMEASURABLE as error:
            self._space.progress.say(f"mixed plans cannot be simulated: {error}")
            return None
        return None if picked is None else (self._prospector.share(picked, self._pairs), picked)

    def _is_fast(self, draft: Draft) -> bool:
        """Whether a plan is predicted to beat what holds without one."""
        return draft.milliseconds < WORTH * self._rival_ms

    def _aim(self, *, refine: bool) -> Draft | None:
        """The fastest plan whose bound is expected to take the tolerance; None where it keeps all."""
        tolerated = self._base.margin
        points = [Point(draft.noise, seen) for seen, draft in self._pairs]
        guess = find_budget(points, self._seen, self._exam, tolerated)
        return self._drafter.find(tolerated / find_factor(self._pairs, self._exam), guess, refine=refine)

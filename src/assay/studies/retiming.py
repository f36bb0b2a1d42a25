"""Times plans that were built in turn with forms in one format, so that the times of groups can be corrected."""

from __future__ import annotations

from collections.abc import Mapping

from assay.core.errors import BackendError
from assay.core.mixing import Mix
from assay.core.plan import Candidate
from assay.core.precision import Precision
from assay.decide.learned_times import TimedPlan
from assay.measure.latency import LEAST_ROUNDS
from assay.studies.attempt import Attempt
from assay.studies.profiling import profile_artifacts
from assay.studies.workspace import Workspace

TIMING_S = 2.0
"""Of timing one plan with the forms."""
TIMING_SHARE = 0.02
"""Of a search's wall time that timing one plan may take: slower models are not timed again."""
VISIT_CALLS = 2
"""Calls of each visit of a slow model: one to settle, one that is timed."""

Forms = Mapping[Precision, Attempt]


class PlanTimer:
    """Times plans of one form; what was timed is kept with the study, so that a search that goes on goes the same way.

    Args:
        space: the study.
        base: the form whose groups are mixed.
        forms: format -> attempt of the same runtime that ran; FP32 and INT8 among them.
    """

    def __init__(self, space: Workspace, base: Candidate, forms: Forms) -> None:
        self._space, self._name = space, f"mixed/{base.id}.timed"
        rest = base.plan.rest if base.plan.rest in forms else Precision.FP32
        self._forms = {Precision.INT8: forms[Precision.INT8], rest: forms[rest]}

    def time(self, attempt: Attempt, mix: Mix) -> tuple[TimedPlan, ...]:
        """A plan with the forms; nothing where the model is too slow for that, or the runtime failed.

        Args:
            attempt: of the plan, that ran.
            mix: formats of its groups.

        Raises:
            StoreError: the study's folder cannot be written.
        """
        known = self._space.store.read(self._name, dict[str, tuple[float, ...]]) or {}
        if attempt.candidate.id not in known:
            known[attempt.candidate.id] = self._measure(attempt)
            self._space.store.write(self._name, known)
        found = known[attempt.candidate.id]
        mixes = (*((precision,) * len(mix) for precision in self._forms), mix)
        return tuple(TimedPlan(one, ms) for one, ms in zip(mixes, found, strict=True)) if found else ()

    def _measure(self, attempt: Attempt) -> tuple[float, ...]:
        """Milliseconds of the forms and the plan; nothing where they are not measured."""
        space, timed = self._space, (*self._forms.values(), attempt)
        call_ms = sum(0.0 if one.probe is None else one.probe.quick_ms for one in timed)
        if LEAST_ROUNDS * VISIT_CALLS * call_ms / 1e3 > TIMING_SHARE * space.request.mixed.seconds:
            return ()
        folders = [space.store.artifact(one.address) for one in timed]
        target = space.target(attempt.candidate.runtime)
        try:
            found = profile_artifacts([], folders, space.sample, target, space.request.limits, budget_s=TIMING_S)
        except BackendError as error:
            space.progress.say(f"{attempt.candidate.id}: it is not timed again: {error}")
            return ()
        return tuple(profile.whole_ms for profile in found)

"""All measured trials of a study beside the requirements, and who is best among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from assay.core.errors import MeasurementError
from assay.core.requirements import Requirements
from assay.core.trial import Trial
from assay.decide.assess import Assessment, assess
from assay.decide.finding import Verdict
from assay.decide.front import find_front
from assay.decide.objective import cost_of, tell_apart


@dataclass(frozen=True, slots=True)
class Field:
    """Assessed trials in the order of their ids.

    Attributes:
        reference: the FP32 reference among them.
    """

    requirements: Requirements
    assessments: tuple[Assessment, ...]
    reference: Assessment

    @classmethod
    def of(cls, requirements: Requirements, trials: Sequence[Trial]) -> Field:
        """Assess every trial that has evidence.

        Raises:
            MeasurementError: no reference was measured, so that no loss means anything.
        """
        ordered = sorted(trials, key=lambda trial: trial.id)
        assessments = tuple(a for trial in ordered if (a := assess(requirements, trial)) is not None)
        reference = next((a for a in assessments if a.trial.reference), None)
        if reference is None:
            raise MeasurementError(
                "the FP32 reference was not measured, so nothing can be compared with it",
                "see why its trial failed, or choose another runtime for the reference",
            )
        return cls(requirements, assessments, reference)

    def having(self, verdict: Verdict) -> tuple[Assessment, ...]:
        """Assessments with this overall verdict."""
        return tuple(a for a in self.assessments if a.verdict is verdict)

    def cost(self, assessment: Assessment) -> float:
        """The objective's number, lower is better."""
        return cost_of(assessment.evidence, self.requirements.objective, self.requirements.price_per_hour)

    def by_cost(self, assessments: Iterable[Assessment]) -> tuple[Assessment, ...]:
        """Best objective first."""
        return tuple(sorted(assessments, key=lambda a: (self.cost(a), a.trial.id)))

    def beats(self, one: Assessment, other: Assessment) -> bool:
        """Whether one is better by the objective, by more than noise."""
        return self.cost(one) < self.cost(other) and tell_apart(self.requirements, one.evidence, other.evidence)

    def best(self, assessments: Iterable[Assessment]) -> Assessment | None:
        """The best by the objective; within noise of it, the higher precision, what ran as asked, the fewer flips."""
        ordered = self.by_cost(assessments)
        if not ordered:
            return None
        return min(
            (a for a in ordered if not self.beats(ordered[0], a)),
            key=lambda a: (
                -a.trial.candidate.plan.precision.bits,
                bool(a.evidence.flags),
                count_flips(a),
                self.cost(a),
                a.trial.id,
            ),
        )

    def front(self) -> tuple[str, ...]:
        """Trials on the Pareto front of the measured loss against the objective."""
        return find_front({a.trial.id: (point_loss(a), self.cost(a)) for a in self.assessments if has_loss(a)})


def has_loss(assessment: Assessment) -> bool:
    """The loss is known: measured, or nothing because it is the reference."""
    return assessment.trial.reference or assessment.loss is not None


def point_loss(assessment: Assessment) -> float:
    """The measured loss; the reference loses nothing."""
    return 0.0 if assessment.trial.reference or assessment.loss is None else assessment.loss.point


def count_flips(assessment: Assessment) -> int:
    """Items that changed sides, both ways."""
    quality = assessment.evidence.quality
    return 0 if quality is None else quality.flips_lost + quality.flips_won

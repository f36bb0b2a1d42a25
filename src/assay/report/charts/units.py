"""The unit in which a study's metric is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.core.trial import Quality
from assay.report.rows import MeasuredRow


@dataclass(frozen=True, slots=True)
class LossUnit:
    """How losses are drawn.

    Attributes:
        factor: from the metric's unit to the drawn one.
        suffix: ``pp``, or empty where the metric has its own unit.
    """

    metric: str
    factor: float
    suffix: str

    @property
    def axis(self) -> str:
        """Title of an axis of losses."""
        return f"loss of {self.metric} against FP32{f', {self.suffix}' if self.suffix else ''}"


def find_loss_unit(metric: str, rows: Sequence[MeasuredRow]) -> LossUnit:
    """Percentage points for shares where higher is better, else the metric's own unit."""
    qualities: list[Quality] = [m.evidence.quality for m in rows if m.evidence.quality is not None]
    shares = all(q.higher_is_better and 0 <= q.reference <= 1 for q in qualities)
    return LossUnit(metric, 100.0, "pp") if shares else LossUnit(metric, 1.0, "")

"""The unit in which a study's metric is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from assay.core.trial import Quality
from assay.decide import words
from assay.report.rows import MeasuredRow

MINUS = "\N{MINUS SIGN}"
DECIMALS = 9
"""Beyond these lies the rounding of arithmetic, which no reader wants to see."""


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

    def say(self, loss: float) -> str:
        """A loss given in the metric's own unit, such as ``0.44 pp``."""
        if math.isinf(loss):
            return f"{MINUS if loss < 0 else ''}∞"
        loss = round(loss, DECIMALS)
        number = words.format_points(loss).removesuffix(" pp") if self.suffix else words.format_significant(loss)
        return f"{number} {self.suffix}".strip().replace("-", MINUS)

    def trim(self, value: float, low: float, high: float) -> tuple[float, float]:
        """The bounds of a drawn loss that a window makes room for: not those of a share that allow any loss."""
        return (value, value) if self.suffix and low <= -self.factor and high >= self.factor else (low, high)

    def say_between(self, low: float, high: float) -> str:
        """A range of losses given in the metric's own unit, such as ``0.12 to 0.44 pp``."""
        return f"{self.say(low).removesuffix(f' {self.suffix}')} to {self.say(high)}"


def find_loss_unit(metric: str, rows: Sequence[MeasuredRow]) -> LossUnit:
    """Percentage points for shares where higher is better, else the metric's own unit."""
    qualities: list[Quality] = [m.evidence.quality for m in rows if m.evidence.quality is not None]
    shares = all(q.higher_is_better and 0 <= q.reference <= 1 for q in qualities)
    return LossUnit(metric, 100.0, "pp") if shares else LossUnit(metric, 1.0, "")

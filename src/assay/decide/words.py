"""Numbers in words: percentage points, milliseconds, bytes, ratios."""

from __future__ import annotations

import math
from collections import Counter

from assay.core.plan import Candidate, Plan, WeightScheme
from assay.core.precision import Precision, WeightStyle
from assay.core.trial import Quality

MS_PER_S = 1000.0
US_PER_MS = 1000.0
BYTE_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def format_significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, never in exponent form between 1e-4 and 1e9."""
    if not math.isfinite(value):
        return "infinite" if math.isinf(value) else "not a number"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if not -5 < exponent < 9:  # noqa: PLR2004 - the range that the docstring names
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - exponent)
    return f"{value:,.{decimals}f}"


def format_points(fraction: float) -> str:
    """A share in percentage points: 0.005 is ``0.50 pp``."""
    points = fraction * 100
    if points and round(points, 2) == 0:
        return f"{format_significant(points, 1)} pp"
    return f"{points + 0.0:.2f} pp"


def format_ms(milliseconds: float) -> str:
    """A duration in the unit that fits it."""
    if milliseconds >= MS_PER_S:
        return f"{format_significant(milliseconds / MS_PER_S)} s"
    if 0 < milliseconds < 0.1:  # noqa: PLR2004 - below, microseconds read better
        return f"{format_significant(milliseconds * US_PER_MS)} us"
    return f"{format_significant(milliseconds)} ms"


def format_bytes(size: float) -> str:
    """A size in decimal units."""
    for factor, unit in BYTE_UNITS:
        if size >= factor:
            return f"{format_significant(size / factor)} {unit}"
    return f"{size:.0f} B"


def format_ratio(ratio: float) -> str:
    """A factor, such as ``9.13x``."""
    decimals = 2 if ratio < 10 else 1 if ratio < 100 else 0  # noqa: PLR2004 - three significant digits
    return f"{ratio:,.{decimals}f}x"


def format_count(count: int) -> str:
    """A number of things, thousands apart."""
    return f"{count:,}"


def format_about(count: int) -> str:
    """A planned number of things, rounded up to two digits: 16,045 is ``about 17,000``."""
    step = 10 ** max(0, len(str(count)) - 2)
    return f"about {-(-count // step) * step:,}"


def format_confidence(confidence: float) -> str:
    """A confidence in percent."""
    return f"{confidence * 100:g}%"


def format_metric(quality: Quality, amount: float) -> str:
    """An amount of a metric: percentage points for a share where higher is better, else its own unit."""
    if quality.higher_is_better and 0 <= quality.reference <= 1:
        return format_points(amount)
    return format_significant(amount)


def format_loss(quality: Quality, loss: float) -> str:
    """What happened to the metric: ``lost 0.12 pp``, or ``worsened by 0.3`` where lower is better."""
    if loss == 0:
        return "lost nothing"
    worse, better = ("lost", "gained") if quality.higher_is_better else ("worsened by", "improved by")
    return f"{worse if loss > 0 else better} {format_metric(quality, abs(loss))}"


def name_candidate(candidate: Candidate) -> str:
    """A candidate for a reader: ``INT8 on openvino (u8s8, chain, mse, rest in BF16)``."""
    form = describe_form(candidate)
    return f"{candidate.plan.precision.upper()} on {candidate.runtime}{f' ({form})' if form else ''}"


def name_shortly(candidate: Candidate) -> str:
    """Precision and runtime, such as ``INT8 on openvino``, or ``INT8 with 12 nodes in floats on openvino``."""
    plan = candidate.plan
    kept = sum(precision is not plan.precision for _, precision in plan.overrides)
    mixed = f" with {format_count(kept)} node{'s' if kept > 1 else ''} in floats" if kept else ""
    return f"{plan.precision.upper()}{mixed} on {candidate.runtime}"


def describe_form(candidate: Candidate) -> str:
    """The form of a plan that quantizes, such as ``u8s8, chain, mse``, or ``mse`` of FP8; empty for the others.

    A lone repair is the one that every form of a study has, and goes without saying.
    """
    plan = candidate.plan
    if plan.weights is not None:
        return ", ".join(_describe_weights(plan, plan.weights))
    if plan.floats is not None:
        return ", ".join([str(plan.floats.ranges), *_describe_rest(plan)])
    if plan.scheme is None:
        return ""
    parts = [plan.scheme.dialect.name, str(plan.scheme.placement), str(plan.scheme.ranges)]
    parts += [str(repair) for repair in plan.scheme.repairs if len(plan.scheme.repairs) > 1]
    parts += ["tables"] if plan.scheme.tables else []
    return ", ".join(parts + _describe_rest(plan))


def _describe_weights(plan: Plan, scheme: WeightScheme) -> list[str]:
    """A plan that quantizes weights without calibration, part by part."""
    dynamic = scheme.style is WeightStyle.DYNAMIC
    parts = ["dynamic" if dynamic else "weights" if scheme.group else "weights alone"]
    parts += [f"groups of {scheme.group}"] if scheme.group else []
    parts += [f"blocks of {scheme.block}"] if scheme.block else []
    parts += ["smooth"] if scheme.smooth else []
    parts += ["tables"] if scheme.tables else []
    return parts + _describe_rest(plan)


def _describe_rest(plan: Plan) -> list[str]:
    """What a plan does not quantize: the rest's format, and nodes that are kept, where there is something to say."""
    parts = [f"rest in {plan.rest.upper()}"] if plan.rest is not Precision.FP32 else []
    return parts + ([_describe_kept(plan)] if plan.overrides else [])


def _describe_kept(plan: Plan) -> str:
    """``7 nodes kept``, or ``5 nodes kept in BF16, 2 in FP32`` where they are not all in the rest's format."""
    counts = Counter(kept for _, kept in plan.overrides)
    if set(counts) == {plan.rest}:
        return _count_nodes(len(plan.overrides))
    first, *others = (kept for kept in Precision if kept in counts)
    told = [f"{_count_nodes(counts[first])} in {first.upper()}"]
    return ", ".join(told + [f"{counts[kept]} in {kept.upper()}" for kept in others])


def _count_nodes(count: int) -> str:
    """``1 node kept``, ``2 nodes kept``."""
    return f"{count} node{'s' if count > 1 else ''} kept"

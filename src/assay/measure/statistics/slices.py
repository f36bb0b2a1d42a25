"""Certificates of the slices of the items, such as the classes, so that a whole cannot hide a dead part.

Two statements, two kinds of error:

- *Certified* is a slice whose loss is within its margin, at the confidence, each on its own. "Every slice is within its
  margin" is the intersection of these, and its test, which asks that each of them passes, has the error rate of a
  single one: if one slice is beyond its margin, all pass only if that one does (intersection-union test; Berger,
  Multiparameter hypothesis testing and acceptance sampling, Technometrics 24, 1982). So nothing is corrected.
- *Worse* is a slice whose loss is proven to exceed its margin. Among a thousand slices, fifty would be so by chance, so
  the slices of a column share one error rate by Holm's procedure (Holm, A simple sequentially rejective multiple test
  procedure, Scand. J. Stat. 6, 1979): the chance that any slice is called worse and is not, is that rate at most.

Where two columns are asked for, each has its own error rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assay.core.certificate import CertificateStatus, SliceCertificate
from assay.core.errors import MeasurementError, RequestError
from assay.core.requirements import CLASS_COLUMN, SliceRule, ToleranceKind
from assay.core.session import Metric, Scores
from assay.core.tensor import Array
from assay.core.trial import WIDEST
from assay.measure.statistics.slice_parts import FlipPart, Part, divide
from assay.measure.statistics.trinomial import GAMMA_SHARE

DEAD_LOSS = 0.1
"""A class that loses more than this is dead, whatever the user asked for."""
MOST_NAMED = 3
MOST_EXACT = 64
"""Of more slices, bounds of flips that decide nothing are the quick ones."""
GRAVITY = (CertificateStatus.WORSE, CertificateStatus.OPEN, CertificateStatus.CERTIFIED)


def certify_slices(
    metric: Metric, reference: Scores, variant: Scores, rule: SliceRule, confidence: float
) -> tuple[SliceCertificate, ...]:
    """What the items say of every slice of a column, the worst first.

    Exact wherever the metric is a mean of bounded item scores. ``high`` holds for its slice, ``low`` for all slices of
    the column together (by Bonferroni); Holm's proof of "worse" reaches a little farther than that bound. A slice that
    the metric's method refuses is open, with the reason.

    Args:
        metric: that is compared.
        reference: of the FP32 model, with the column.
        variant: of the same items in the same order.
        rule: column and margin.
        confidence: one-sided.

    Raises:
        RequestError: there is no such column, or the metric was not scored.
        MeasurementError: the numbers of items differ, or scores are out of range.
    """
    if len(reference) != len(variant):
        raise MeasurementError(f"{len(reference)} items of the reference cannot be paired with {len(variant)}")
    parts = dict(divide(metric, reference, variant, find_column(reference, rule.column)))
    worse = find_worse(parts, rule, 1 - confidence)
    found = [
        certify_part(part, rule, (value, len(parts)), confidence, worse=value in worse) for value, part in parts.items()
    ]
    return sort_slices(found)


def find_dead_classes(
    metric: Metric, reference: Scores, variant: Scores, confidence: float, margin: float = DEAD_LOSS
) -> tuple[SliceCertificate, ...]:
    """Classes that are proven to lose more than a margin, the worst first: a guard where no slices are asked for.

    Nothing is found where items have no classes, or the metric is no mean of item scores.

    Args:
        metric: that is compared.
        reference: of the FP32 model.
        variant: of the same items in the same order.
        confidence: that no class is called dead that is not.
        margin: a class may lose so much.

    Raises:
        RequestError: the metric was not scored.
        MeasurementError: the numbers of items differ, or scores are out of range.
    """
    column = reference.columns.get(CLASS_COLUMN)
    if column is None or metric.functional:
        return ()
    rule = SliceRule(CLASS_COLUMN, ToleranceKind.ABSOLUTE, margin, f"{CLASS_COLUMN}: {100 * margin:g}pp")
    parts = dict(divide(metric, reference, variant, column))
    worse = find_worse(parts, rule, 1 - confidence)
    found = [certify_part(parts[value], rule, (value, len(parts)), confidence, worse=True) for value in worse]
    return sort_slices(found)


def judge_slices(certificates: Sequence[SliceCertificate]) -> CertificateStatus:
    """What the slices of a column say of a candidate.

    Worse, if one is proven worse. Open, if one that has enough items to be certified is not, or if none is certified at
    all. Else certified: slices with fewer items could not be certified by anything, and hold nothing up.
    """
    found = {part.status for part in certificates}
    if CertificateStatus.WORSE in found:
        return CertificateStatus.WORSE
    if CertificateStatus.CERTIFIED not in found or any(holds_up(part) for part in certificates):
        return CertificateStatus.OPEN
    return CertificateStatus.CERTIFIED


def holds_up(part: SliceCertificate) -> bool:
    """Whether a slice is open although it has enough items to be certified."""
    return part.status is CertificateStatus.OPEN and part.n >= part.items_needed


def describe_slices(certificates: Sequence[SliceCertificate]) -> str:
    """What the slices say, in words, such as "loses 38.0 pp in class 7 (at least 21.0 pp, tolerated 5 pp)"."""
    worse = [part for part in certificates if part.status is CertificateStatus.WORSE]
    if worse:
        more = f", and in {len(worse) - MOST_NAMED} more" if len(worse) > MOST_NAMED else ""
        return f"loses {', '.join(_describe_worse(part) for part in worse[:MOST_NAMED])}{more}"
    held = [part for part in certificates if holds_up(part)]
    if held:
        more = f", nor of {len(held) - MOST_NAMED} more" if len(held) > MOST_NAMED else ""
        return f"cannot tell of {', '.join(_describe_open(part) for part in held[:MOST_NAMED])}{more}"
    certified = sum(part.status is CertificateStatus.CERTIFIED for part in certificates)
    small = len(certificates) - certified
    rest = f"; {small} too small for that with these items" if small else ""
    return f"{certified} of {len(certificates)} slices are certified{rest}"


def find_column(scores: Scores, column: str) -> Array:
    """The column of that name.

    Raises:
        RequestError: there is none, naming those there are.
    """
    found = scores.columns.get(column)
    if found is None:
        known = ", ".join(scores.columns) or "none"
        hint = "targets that are one integer per item are the column 'class'; others are columns of the data"
        raise RequestError(f"the items have no column {column!r}; their columns are {known}", hint)
    return found


def find_worse(parts: Mapping[str, Part], rule: SliceRule, error: float) -> tuple[str, ...]:
    """Slices that are proven worse, by Holm's procedure at a family-wise error rate."""
    count = len(parts)
    relative = rule.kind is ToleranceKind.RELATIVE
    # All references are at most so large but for this share of the error; Holm has the rest.
    gamma, left = (error * GAMMA_SHARE / count, error * (1 - GAMMA_SHARE)) if relative else (0.0, error)
    found: list[tuple[float, str]] = []
    for value, part in parts.items():
        if part.loss <= rule.margin(part.reference):
            continue
        try:
            margin = rule.margin(part.confine_reference(gamma)[1]) if relative else rule.amount
            found.append((part.p_worse(margin, left, count), value))
        except MeasurementError:
            # What a method refuses to bound, it proves nothing of.
            continue
    worse: list[str] = []
    for rank, (p_value, value) in enumerate(sorted(found)):
        if p_value > left / (count - rank):
            break
        worse.append(value)
    return tuple(worse)


def certify_part(
    part: Part, rule: SliceRule, place: tuple[str, int], confidence: float, *, worse: bool
) -> SliceCertificate:
    """The certificate of one slice.

    Args:
        part: its items.
        rule: column and margin.
        place: the slice, and how many there are.
        confidence: one-sided.
        worse: it is proven worse.
    """
    value, count = place
    margin = rule.margin(part.reference)
    together = 1 - (1 - confidence) / count
    try:
        least, left = _find_least_margin(part, rule, confidence)
        reason, needed = "", part.count_needed(least, left)
        low, high, certified = _bound(part, least, (together, left), exact=(worse or count <= MOST_EXACT))
    except MeasurementError as refusal:
        low, high = -WIDEST, WIDEST
        needed, certified, reason = part.n + 1, False, refusal.message
    status = CertificateStatus.CERTIFIED if certified else CertificateStatus.OPEN
    return SliceCertificate(
        column=rule.column,
        value=value,
        n=part.n,
        reference=part.reference,
        variant=part.variant,
        loss=part.loss,
        low=low,
        high=high,
        margin=margin,
        status=CertificateStatus.WORSE if worse else status,
        items_needed=needed,
        reason=reason,
    )


def sort_slices(found: list[SliceCertificate]) -> tuple[SliceCertificate, ...]:
    """The worst first: proven worse, open with enough items, other open ones, certified; then by the loss."""
    return tuple(sorted(found, key=lambda part: (GRAVITY.index(part.status), not holds_up(part), -part.loss)))


def _find_least_margin(part: Part, rule: SliceRule, confidence: float) -> tuple[float, float]:
    """The margin that is tolerated for sure, and the confidence that the test of the loss must have."""
    if rule.kind is ToleranceKind.ABSOLUTE:
        return rule.amount, confidence
    gamma = GAMMA_SHARE * (1 - confidence)
    return rule.margin(part.confine_reference(gamma)[0]), confidence + gamma


def _bound(part: Part, margin: float, confidences: tuple[float, float], *, exact: bool) -> tuple[float, float, bool]:
    """Lower and upper bound of the loss, each at its confidence, and whether the upper one is within the margin."""
    together, left = confidences
    if exact or not isinstance(part, FlipPart):
        high = part.high(left)
        return part.low(together), high, high <= margin
    passes = part.could_pass(margin, left)
    high = part.high(left) if passes else part.bound_roughly(left)
    return 0.0 - part.mirror().bound_roughly(together), high, passes and high <= margin


def _describe_worse(part: SliceCertificate) -> str:
    # Holm proves a little more than the bound for all slices together shows.
    proof = f"at least {100 * part.low:.1f} pp, " if part.low > part.margin else "proven beyond the "
    return f"{100 * part.loss:.1f} pp in {part.column} {part.value} ({proof}tolerated {100 * part.margin:.3g} pp)"


def _describe_open(part: SliceCertificate) -> str:
    if part.reason:
        return f"{part.column} {part.value}: {part.reason}"
    bounds = f"loses {100 * part.loss:.1f} pp, at most {100 * part.high:.1f} pp, tolerated {100 * part.margin:.3g} pp"
    return f"{part.column} {part.value} ({bounds})"

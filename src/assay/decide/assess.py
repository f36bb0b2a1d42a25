"""Whether a trial meets each requirement: proven, proven not, or not to be told from the data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from assay.core.certificate import Certificate, CertificateStatus
from assay.core.estimate import Estimate
from assay.core.precision import Precision
from assay.core.requirements import Bounded, Constraint, Requirements
from assay.core.trial import Evidence, Quality, Trial
from assay.decide import words
from assay.decide.device import DEVICE_BOUNDS, judge_device
from assay.decide.finding import Finding, Verdict, judge_bytes
from assay.decide.resolve import count_items_without_flips, is_right_or_wrong

NEGLIGIBLE_SHARE = 0.005
"""Share of the arithmetic in another format below which FP32 still counts as FP32."""


@dataclass(frozen=True, slots=True)
class Loss:
    """How much worse than the reference, in the metric's own unit, whatever its direction; negative is better.

    Attributes:
        lower: bound at the quality's one-sided confidence.
        upper: bound at the quality's one-sided confidence.
        margin: tolerated loss.
    """

    point: float
    lower: float
    upper: float
    margin: float

    @property
    def verdict(self) -> Verdict:
        """Certified within the margin, proven beyond it, or neither."""
        if self.upper <= self.margin:
            return Verdict.MEETS
        return Verdict.FAILS if self.lower > self.margin else Verdict.UNDECIDED


@dataclass(frozen=True, slots=True)
class Assessment:
    """A measured trial beside the requirements.

    Attributes:
        loss: None where no quality was measured against the reference.
    """

    trial: Trial
    evidence: Evidence
    quality: Finding
    constraints: tuple[Finding, ...]
    loss: Loss | None

    @property
    def is_hopeful(self) -> bool:
        """More items might certify it: it was tested, or looks good on the search items."""
        certificate = self.evidence.certificate
        untested = certificate is not None and certificate.status is CertificateStatus.UNTESTED
        return not (untested and self.loss is not None and self.loss.point > self.loss.margin)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Quality first, then the constraints in the user's order."""
        return (self.quality, *self.constraints)

    @property
    def verdict(self) -> Verdict:
        """Fails if one gate fails, meets if all meet, else undecided."""
        verdicts = {finding.verdict for finding in self.findings}
        if Verdict.FAILS in verdicts:
            return Verdict.FAILS
        return Verdict.UNDECIDED if Verdict.UNDECIDED in verdicts else Verdict.MEETS


def assess(requirements: Requirements, trial: Trial) -> Assessment | None:
    """A trial beside every requirement; None where it has no evidence."""
    evidence = trial.evidence
    if evidence is None:
        return None
    loss = None if evidence.quality is None else measure_loss(requirements, evidence.quality)
    if loss is not None and evidence.certificate is not None:
        loss = replace(loss, margin=evidence.certificate.margin)
    return Assessment(
        trial=trial,
        evidence=evidence,
        quality=_judge_quality(requirements, trial, evidence, loss),
        constraints=tuple(_judge_constraint(constraint, evidence) for constraint in requirements.constraints),
        loss=loss,
    )


def measure_loss(requirements: Requirements, quality: Quality) -> Loss:
    """Loss of a metric with its bounds, turned so that positive is worse."""
    margin = requirements.tolerance.margin(quality.reference)
    if quality.higher_is_better:
        # 0.0 - x, because -x of no difference is a negative zero, which reads as a loss of "-0.00".
        return Loss(0.0 - quality.difference, 0.0 - quality.high, 0.0 - quality.low, margin)
    return Loss(quality.difference, quality.low, quality.high, margin)


def is_model_itself(trial: Trial) -> bool:
    """The trial computes in FP32 what the user gave: nothing was reduced, neither asked for nor in what ran."""
    if trial.candidate.plan.precision is not Precision.FP32:
        return False
    if trial.reference or trial.evidence is None:
        return True
    shares = trial.evidence.audit.shares()
    return sum(share for precision, share in shares.items() if precision is not Precision.FP32) <= NEGLIGIBLE_SHARE


def describe_loss(quality: Quality, loss: Loss) -> str:
    """The loss with its bounds and the tolerance, in words."""
    lost = words.format_loss(quality, loss.point)
    confidence = words.format_confidence(quality.confidence)
    upper = words.format_metric(quality, loss.upper)
    tolerated = f"against the tolerated {words.format_metric(quality, loss.margin)}"
    if loss.verdict is Verdict.FAILS:
        lower = words.format_metric(quality, loss.lower)
        return f"{lost} ({confidence} bounds {lower} and {upper}) {tolerated}"
    return f"{lost} ({confidence} bound {upper}) {tolerated}"


def _judge_quality(requirements: Requirements, trial: Trial, evidence: Evidence, loss: Loss | None) -> Finding:
    """The quality gate: FP32 is the model itself and passes unless it is proven worse."""
    if trial.reference:
        return Finding(Verdict.MEETS, "the FP32 reference")
    quality = evidence.quality
    itself = is_model_itself(trial)
    if quality is None or loss is None:
        if itself:
            return Finding(Verdict.MEETS, "FP32, the model itself")
        return Finding(Verdict.UNDECIDED, "the quality was not measured", math.inf)
    wanted = requirements.tolerance.metric
    if quality.metric != wanted:
        return Finding(Verdict.UNDECIDED, f"{quality.metric} was measured where {wanted} is bounded", math.inf)
    if evidence.certificate is not None and not itself:
        return _judge_certificate(evidence.certificate, loss, describe_loss(quality, loss))
    return _judge_interval(requirements, quality, loss, itself=itself)


def _judge_interval(requirements: Requirements, quality: Quality, loss: Loss, *, itself: bool) -> Finding:
    """A loss by its interval alone: of FP32 on another runtime, and of what nobody chose among others."""
    text = describe_loss(quality, loss)
    if loss.verdict is Verdict.MEETS and not itself:
        caveat = _find_caveat(requirements, quality, loss)
        return Finding(Verdict.UNDECIDED, f"{text}, but {caveat}") if caveat else Finding(Verdict.MEETS, text)
    verdict = Verdict.MEETS if itself and loss.verdict is not Verdict.FAILS else loss.verdict
    excess = 1.0 if verdict is Verdict.MEETS else _ratio(loss.point, loss.margin)
    return Finding(verdict, text, max(1.0, excess))


def _judge_certificate(certificate: Certificate, loss: Loss, text: str) -> Finding:
    """What the certification items say; without them, the search items can only speak against."""
    excess = max(1.0, _ratio(loss.point, loss.margin))
    if certificate.status is CertificateStatus.CERTIFIED:
        return Finding(Verdict.MEETS, text)
    said = f"{text}; {certificate.reason}" if certificate.reason else text
    if certificate.status is CertificateStatus.WORSE:
        return Finding(Verdict.FAILS, said, excess)
    if certificate.status is CertificateStatus.OPEN:
        return Finding(Verdict.UNDECIDED, said, excess)
    return Finding(Verdict.UNDECIDED, f"not certified: {certificate.reason}", excess)


def _find_caveat(requirements: Requirements, quality: Quality, loss: Loss) -> str:
    """Why a bound within the margin certifies nothing; empty where it does.

    A lucky gain can pull the bound below a margin that not even a variant without a single flip could be held to.
    The more variants are tried, the likelier one of them is so lucky: too small a set certifies nothing.
    """
    if quality.confidence < requirements.confidence:
        return f"{words.format_confidence(requirements.confidence)} confidence was asked for"
    if not 0 < loss.margin < 1 or not is_right_or_wrong(quality):
        return ""
    needed = count_items_without_flips(loss.margin, quality.confidence)
    if quality.n >= needed:
        return ""
    return (
        f"{words.format_count(quality.n)} items cannot resolve {words.format_metric(quality, loss.margin)}: "
        f"at least {words.format_count(needed)} are needed even where nothing flips"
    )


def _judge_constraint(constraint: Constraint, evidence: Evidence) -> Finding:
    """One constraint, held against the bound of the interval that counts."""
    quantity = constraint.quantity
    if quantity in DEVICE_BOUNDS:
        return judge_device(constraint, evidence)
    if quantity is Bounded.SIZE:
        return judge_bytes(constraint, "size", evidence.footprint.size_bytes)
    if quantity is Bounded.THROUGHPUT:
        return judge_throughput(constraint, evidence.throughput)
    quantile = quantity.quantile
    estimate = None if quantile is None else evidence.latency.at(quantile, constraint.confidence)
    if quantile is None or estimate is None:
        text = f"{quantity} was not measured at the confidence of '{constraint.text}'"
        return Finding(Verdict.UNDECIDED, text, math.inf)
    return judge_percentile(constraint, quantile, estimate)


def judge_percentile(constraint: Constraint, quantile: float, estimate: Estimate) -> Finding:
    """A percentile of the latency, by its upper bound."""
    value = words.format_ms(estimate.value)
    excess = max(1.0, _ratio(estimate.value, constraint.limit))
    if estimate.low is not None and estimate.low > constraint.limit:
        text = f"{constraint.quantity} {value} (at least {words.format_ms(estimate.low)}) misses '{constraint.text}'"
        return Finding(Verdict.FAILS, text, excess)
    if estimate.high is None:
        needed = count_samples_needed(quantile, estimate.confidence)
        calls = f"{words.format_count(estimate.n)} calls give no upper bound, {words.format_count(needed)} are needed"
        text = f"{constraint.quantity} {value} cannot be held to '{constraint.text}': {calls}"
        return Finding(Verdict.UNDECIDED, text, excess)
    bound = f"{constraint.quantity} {value} (at most {words.format_ms(estimate.high)})"
    if estimate.high <= constraint.limit:
        return Finding(Verdict.MEETS, f"{bound} keeps '{constraint.text}'")
    return Finding(Verdict.UNDECIDED, f"{bound} may miss '{constraint.text}'", excess)


def judge_throughput(constraint: Constraint, estimate: Estimate) -> Finding:
    """Throughput, by its lower bound."""
    value = f"throughput {words.format_significant(estimate.value)}/s"
    excess = max(1.0, _ratio(constraint.limit, estimate.value))
    if estimate.high is not None and estimate.high < constraint.limit:
        text = f"{value} (at most {words.format_significant(estimate.high)}/s) misses '{constraint.text}'"
        return Finding(Verdict.FAILS, text, excess)
    if estimate.low is None:
        return Finding(Verdict.UNDECIDED, f"{value} has no lower bound to hold to '{constraint.text}'", excess)
    bound = f"{value} (at least {words.format_significant(estimate.low)}/s)"
    if estimate.low >= constraint.limit:
        return Finding(Verdict.MEETS, f"{bound} keeps '{constraint.text}'")
    return Finding(Verdict.UNDECIDED, f"{bound} may miss '{constraint.text}'", excess)


def count_samples_needed(quantile: float, confidence: float) -> int:
    """Fewest samples whose largest bounds a quantile from above at a one-sided confidence.

    The largest of n samples lies below the quantile q with probability q^n, so n = ln(1 - confidence) / ln(q)
    (David and Nagaraja, Order Statistics, section 7.1).
    """
    return math.ceil(math.log(1 - confidence) / math.log(quantile))


def _ratio(numerator: float, denominator: float) -> float:
    """A quotient that is infinite where nothing is allowed."""
    return numerator / denominator if denominator > 0 else math.inf

"""What the certificates say of parts of the items, in words and cells."""

from __future__ import annotations

from dataclasses import dataclass

from assay.core.certificate import Certificate, CertificateStatus, SliceCertificate
from assay.core.trial import Quality, Trial
from assay.decide import words

STATUS_WORDS = {
    CertificateStatus.CERTIFIED: "certified",
    CertificateStatus.WORSE: "worse",
    CertificateStatus.OPEN: "cannot tell",
    CertificateStatus.UNTESTED: "untested",
}
"""What the certification items say, in the words of a badge."""
STATUS_TONES = {
    CertificateStatus.CERTIFIED: "good",
    CertificateStatus.WORSE: "bad",
    CertificateStatus.OPEN: "warn",
    CertificateStatus.UNTESTED: "",
}
"""Tone of the badge."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a certificate comes to.

    Attributes:
        guilty: the slice that decides, where the items as a whole do not.
    """

    status: CertificateStatus
    guilty: SliceCertificate | None = None

    @property
    def words(self) -> str:
        """Such as ``certified`` or ``worse in class 6``."""
        word = STATUS_WORDS[self.status]
        return word if self.guilty is None else f"{word} in {name_slice(self.guilty)}"

    @property
    def tone(self) -> str:
        """Tone of the badge."""
        return STATUS_TONES[self.status]


def judge(certificate: Certificate) -> Outcome:
    """The certificate's status, with the slice that it comes from where the items as a whole do not say so."""
    status = certificate.status
    whole = {
        CertificateStatus.WORSE: certificate.low > certificate.margin,
        CertificateStatus.OPEN: certificate.high > certificate.margin,
    }
    if whole.get(status, True):
        return Outcome(status)
    return Outcome(status, next((part for part in certificate.slices if part.status is status), None))


def name_slice(part: SliceCertificate) -> str:
    """Column and value, such as ``class 6``."""
    return f"{part.column} {part.value}"


def list_guilty(certificate: Certificate | None) -> tuple[SliceCertificate, ...]:
    """Slices that are proven worse, the worst first."""
    if certificate is None:
        return ()
    return tuple(part for part in certificate.slices if part.status is CertificateStatus.WORSE)


def describe_guilty(trial: Trial, told: str) -> str:
    """The worst slice that a trial is proven worse in, with its numbers; empty where a text names it already."""
    evidence = trial.evidence
    guilty = list_guilty(evidence.certificate) if evidence else ()
    if evidence is None or not guilty or name_slice(guilty[0]) in told:
        return ""
    part, quality = guilty[0], evidence.quality
    others = f" (and {len(guilty) - 1} more)" if len(guilty) > 1 else ""
    where, margin = f"over {words.format_count(part.n)} items", _say(quality, part.margin)
    if part.bounded and part.low > part.margin:
        return f"in {name_slice(part)}{others} it loses at least {_say(quality, part.low)} {where}, tolerated {margin}"
    # Holm's procedure proves a little more than the bound for all slices together shows.
    loss = _say(quality, part.loss)
    return f"in {name_slice(part)}{others} it loses {loss} {where}, proven beyond the tolerated {margin}"


def _say(quality: Quality | None, amount: float) -> str:
    """An amount of the metric."""
    return words.format_significant(amount) if quality is None else words.format_metric(quality, amount)

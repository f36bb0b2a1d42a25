"""A comparison of two models: as a sentence, as Markdown for a comment in a CI, and as the stable JSON (schema 1)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from assay.core.certificate import CertificateStatus, Design, SliceCertificate
from assay.decide import words
from assay.report.slices import STATUS_WORDS, name_slice
from assay.studies.comparing import Comparison
from assay.studies.files import store_errors, write_bytes

JSON_NAME = "comparison.json"
MARKDOWN_NAME = "comparison.md"
EXITS = {
    CertificateStatus.CERTIFIED: 0,
    CertificateStatus.WORSE: 10,
    CertificateStatus.OPEN: 11,
    CertificateStatus.UNTESTED: 11,
}
HEADLINES = {
    CertificateStatus.CERTIFIED: "Certified",
    CertificateStatus.WORSE: "Worse",
    CertificateStatus.OPEN: "Cannot tell",
    CertificateStatus.UNTESTED: "Cannot tell",
}
MOST_SLICES = 10


def show_comparison(comparison: Comparison) -> dict[str, object]:
    """The comparison as a document: status, exit status and sentence first."""
    status = comparison.certificate.status
    document: dict[str, object] = msgspec.to_builtins(comparison)
    return {
        "schema": document.pop("schema"),
        "status": str(status),
        "exit": EXITS[status],
        "sentence": describe_comparison(comparison),
        **document,
    }


def write_comparison(comparison: Comparison, folder: Path) -> tuple[Path, Path]:
    """Write the JSON and the Markdown; returns their paths.

    Raises:
        StoreError: the folder cannot be written.
    """
    paths = folder / JSON_NAME, folder / MARKDOWN_NAME
    document = msgspec.json.format(msgspec.json.encode(show_comparison(comparison), order="deterministic"), indent=1)
    write_bytes(paths[0], document + b"\n")
    write_bytes(paths[1], render_comparison(comparison).encode())
    return paths


def forget_comparison(folder: Path) -> None:
    """Remove the results of an earlier comparison, so that none is taken for that of one that fails.

    Raises:
        StoreError: they cannot be removed.
    """
    for name in (JSON_NAME, MARKDOWN_NAME):
        with store_errors(folder / name, "remove"):
            (folder / name).unlink(missing_ok=True)


def describe_comparison(comparison: Comparison) -> str:
    """What is compared and what came out, in words."""
    certificate, quality = comparison.certificate, comparison.quality
    margin = words.format_metric(quality, certificate.margin)
    a, b = (f"{side.name} ({side.runtime})" for side in (comparison.a, comparison.b))
    sure = words.format_confidence(certificate.confidence)
    than = f"{margin} worse than {a} in {certificate.metric}"
    verdict = {
        CertificateStatus.CERTIFIED: f"is at most {than}, at {sure} confidence",
        CertificateStatus.WORSE: f"is more than {than}, at {sure} confidence",
    }.get(certificate.status, f"may or may not be more than {than}")
    guilty = [one for one in certificate.slices if one.status is CertificateStatus.WORSE]
    if certificate.status is CertificateStatus.WORSE and guilty and certificate.low <= certificate.margin:
        verdict = f"loses more than is tolerated in {name_slice(guilty[0])} against {a}, at {sure} confidence"
    parts = [f"{HEADLINES[certificate.status]}: {b} {verdict}.", describe_evidence(comparison)]
    if certificate.reason:
        parts.append(f"{certificate.reason[0].upper()}{certificate.reason[1:]}.")
    if certificate.status is CertificateStatus.OPEN:
        parts.append(describe_needed(comparison))
    return " ".join(parts)


def describe_evidence(comparison: Comparison) -> str:
    """The metric of both, the loss with its bounds, the items and the flips."""
    certificate, quality = comparison.certificate, comparison.quality
    low, high = (words.format_metric(quality, bound) for bound in (certificate.low, certificate.high))
    return (
        f"On {describe_items(comparison)} it {words.format_loss(quality, certificate.loss)} "
        f"({format_value(comparison, quality.reference)} to {format_value(comparison, quality.value)}; "
        f"the loss is between {low} and {high}): "
        f"{words.format_count(quality.flips_lost)} item{'s' * (quality.flips_lost != 1)} got worse and "
        f"{words.format_count(quality.flips_won)} better.{describe_cuts(comparison)}"
    )


def describe_cuts(comparison: Comparison) -> str:
    """The thresholds of both, where they are not the task's own."""
    told = [", ".join(f"{one.value:.6g}" for one in side.thresholds) for side in (comparison.a, comparison.b)]
    if not told[0]:
        return ""
    tuned = comparison.a.thresholds[0].items
    apart = f", tuned on {words.format_count(tuned)} other items" if tuned else ""
    return f" Positive is what scores above {told[0]} in the first and {told[1]} in the second{apart}."


def describe_items(comparison: Comparison) -> str:
    """How many of the items were looked at."""
    used, available = (words.format_count(n) for n in (comparison.certificate.n, comparison.certificate.available))
    return f"all {available} items" if used == available else f"{used} of {available} items"


def describe_needed(comparison: Comparison) -> str:
    """How many more items would decide."""
    if comparison.items_needed is None:
        return "No sensible number of items would decide: the loss is about the tolerance."
    more = comparison.items_needed - comparison.certificate.available
    return (
        f"{words.format_about(comparison.items_needed).capitalize()} items would probably decide, "
        f"{words.format_about(max(1, more)).removeprefix('about ')} more than there are."
    )


def render_comparison(comparison: Comparison) -> str:
    """Markdown for a comment."""
    certificate, quality = comparison.certificate, comparison.quality
    looks = len(certificate.looks)
    design = f"{looks} looks" if certificate.design is Design.SEQUENTIAL else "one look"
    bounds = (words.format_metric(quality, bound) for bound in (certificate.low, certificate.high))
    rows = [
        ("reference", f"`{comparison.a.name}` on {comparison.a.runtime}"),
        ("candidate", f"`{comparison.b.name}` on {comparison.b.runtime}"),
        ("metric", f"{certificate.metric} ({comparison.task})"),
        ("tolerance", f"`{comparison.tolerance}`, one-sided {words.format_confidence(certificate.confidence)}"),
        ("values", f"{format_value(comparison, quality.reference)} to {format_value(comparison, quality.value)}"),
        ("loss", f"{words.format_metric(quality, certificate.loss)}, between {' and '.join(bounds)}"),
        ("items", f"{describe_items(comparison).removesuffix(' items')}, {design}"),
        ("flips", f"{quality.flips_lost:,} worse, {quality.flips_won:,} better"),
        ("method", f"{certificate.method}{' (asymptotic)' if certificate.asymptotic else ''}"),
    ]
    headline, _, sentence = describe_comparison(comparison).partition(": ")
    lines = [f"### {headline}: {name_pair(comparison)}, {certificate.metric}", "", sentence, ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows), ""]
    lines += render_slices(comparison, certificate.slices)
    lines += [f"> {warning}" for warning in comparison.warnings]
    return "\n".join(lines).rstrip() + "\n"


def name_pair(comparison: Comparison) -> str:
    """The candidate against the reference; the same model on two runtimes is told apart by these."""
    a, b = comparison.a, comparison.b
    same = a.name == b.name
    name, other = (f"`{side.name}`{f' on {side.runtime}' * same}" for side in (b, a))
    return f"{name} against {other}"


def render_slices(comparison: Comparison, slices: tuple[SliceCertificate, ...]) -> list[str]:
    """The worst slices as a table."""
    if not slices:
        return []
    lines = ["| slice | items | loss | between | tolerated | outcome |", "|---|---:|---:|---:|---:|---|"]
    for one in slices[:MOST_SLICES]:
        loss, low, high, margin = (
            words.format_metric(comparison.quality, amount) for amount in (one.loss, one.low, one.high, one.margin)
        )
        between = f"{low} and {high}" if one.bounded else one.reason
        lines.append(f"| {name_slice(one)} | {one.n:,} | {loss} | {between} | {margin} | {STATUS_WORDS[one.status]} |")
    if len(slices) > MOST_SLICES:
        lines.append(f"| and {len(slices) - MOST_SLICES:,} more | | | | | |")
    return [*lines, ""]


def format_value(comparison: Comparison, value: float) -> str:
    """A value of the metric: in percent for a share where higher is better."""
    if comparison.quality.higher_is_better and 0 <= comparison.quality.reference <= 1:
        return f"{100 * value:.2f}%"
    return words.format_significant(value, 4)

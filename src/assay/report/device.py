"""How artifacts ran held to the limits of a device: for JSON and for tables."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from assay.core.estimate import Estimate
from assay.core.trial import HeldRun
from assay.decide import words
from assay.report.cells import NOTHING
from assay.report.rows import Row
from assay.studies.isolation import describe_limit

HEADER = ("#", "held to", "peak memory", "frames run", "frames/s that nine of ten runs keep", "power", "what happened")
RAN = "ran"
SENTENCE = (
    "Every artifact ran frame by frame, one call after another, in a process of its own that was held to these limits "
    "before it took any memory; Python and the runtime count."
)


class HeldDocument(msgspec.Struct, frozen=True):
    """A held run; rates and powers with their one-sided bounds, null where they were not asked for."""

    frames: int
    cores: int
    peak_memory_bytes: int
    limit_bytes: int | None
    means: str
    failure: str
    fps: float | None
    fps_low: float | None
    fps_high: float | None
    watts: float | None
    watts_high: float | None


def show_held(held: HeldRun | None) -> HeldDocument | None:
    """A held run for JSON."""
    if held is None:
        return None
    fps, watts = held.fps, held.watts
    return HeldDocument(
        frames=held.frames,
        cores=held.cores,
        peak_memory_bytes=held.peak_memory_bytes,
        limit_bytes=held.limit_bytes,
        means=held.means,
        failure=held.failure,
        fps=None if fps is None else fps.value,
        fps_low=None if fps is None else fps.low,
        fps_high=None if fps is None else fps.high,
        watts=None if watts is None else watts.value,
        watts_high=None if watts is None else watts.high,
    )


def list_held(rows: Sequence[Row]) -> tuple[tuple[str, ...], ...]:
    """A line for each artifact that was held, under `HEADER`."""
    held = [(row, row.trial.evidence.held) for row in rows if row.trial.evidence is not None]
    return tuple(
        (
            str(row.number),
            describe_limits(run),
            NOTHING if run.failure else words.format_bytes(run.peak_memory_bytes),
            words.format_count(run.frames),
            describe_estimate(run.fps, ""),
            describe_estimate(run.watts, " W"),
            run.failure or RAN,
        )
        for row, run in held
        if run is not None
    )


def describe_limits(held: HeldRun) -> str:
    """What a process was held to, in words."""
    cores = f"{held.cores} core{'' if held.cores == 1 else 's'}"
    if held.limit_bytes is None:
        return cores
    return f"{cores}, {describe_limit(held.limit_bytes)} by {held.means}"


def describe_estimate(estimate: Estimate | None, unit: str) -> str:
    """A value with its bounds."""
    if estimate is None:
        return NOTHING
    low, high = ("?" if end is None else words.format_significant(end) for end in (estimate.low, estimate.high))
    return f"{words.format_significant(estimate.value)}{unit} ({low} to {high})"

"""How the variants of a language model generate, as a table: prompts, steps, tokens per second, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from assay.core.estimate import Estimate
from assay.core.generation import Generation
from assay.decide import words
from assay.report import cells
from assay.report.rows import Row, keep_measured
from assay.studies.record import StudyRecord

HEADER = (
    "#",
    "variant",
    "context",
    "batch",
    "first token",
    "prefill, tokens/s",
    "step",
    "decode, tokens/s",
    "decode over FP32",
    "cache",
    "peak memory",
)


class RateDocument(msgspec.Struct, frozen=True):
    """A median with its bounds; a bound is null where the rounds are too few for one."""

    value: float
    low: float | None
    high: float | None
    confidence: float
    n: int


class GenerationDocument(msgspec.Struct, frozen=True):
    """Generating at one context and batch; what needs a cache is null without one.

    Attributes:
        decode_gain: over FP32 on the same runtime, paired by round; null for FP32 itself.
    """

    context: int
    batch: int
    first_token_ms: RateDocument
    prefill_tokens_per_s: RateDocument
    step_ms: RateDocument | None
    decode_tokens_per_s: RateDocument | None
    decode_gain: RateDocument | None
    cache_bytes: int
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class GeneratedRow:
    """A line of the table.

    Attributes:
        cells: as in ``HEADER`` from the context on.
        bounds: of the cells, each empty where there are none.
    """

    row: Row
    cells: tuple[str, ...]
    bounds: tuple[str, ...]

    @property
    def line(self) -> tuple[str, ...]:
        """All cells, the bounds behind their values."""
        told = (f"{cell} ({bounds})" if bounds else cell for cell, bounds in zip(self.cells, self.bounds, strict=True))
        return (str(self.row.number), self.row.title, *told)

    @property
    def short(self) -> tuple[str, ...]:
        """All cells without bounds."""
        return (str(self.row.number), self.row.short, *self.cells)


def show_generation(generation: Sequence[Generation]) -> tuple[GenerationDocument, ...]:
    """What a trial's JSON says of generating."""
    return tuple(
        GenerationDocument(
            context=one.context,
            batch=one.batch,
            first_token_ms=_show(one.first_token),
            prefill_tokens_per_s=_show(one.prefill),
            step_ms=_show_known(one.step),
            decode_tokens_per_s=_show_known(one.decode),
            decode_gain=_show_known(one.gain),
            cache_bytes=one.cache_bytes,
            peak_memory_bytes=one.peak_memory_bytes,
        )
        for one in generation
    )


def list_generated(rows: Sequence[Row]) -> tuple[GeneratedRow, ...]:
    """Lines of the table, by context and batch and then as the trials stand; none where nothing generates."""
    found = [(one, measured.row) for measured in keep_measured(rows) for one in measured.evidence.generation]
    ordered = sorted(found, key=lambda pair: (pair[0].context, pair[0].batch))
    return tuple(_describe(one, row) for one, row in ordered)


def explain_generated(record: StudyRecord, lines: Sequence[GeneratedRow]) -> str:
    """What the numbers are about."""
    threads = f"{record.threads} thread{'s' if record.threads > 1 else ''}"
    text = (
        f"Medians on {threads}, in interleaved rounds. The first token comes after one call with the whole prompt; "
        "prefill is the prompt's tokens over that time."
    )
    if any(line.cells[4] != cells.NOTHING for line in lines):
        text += (
            " A step gives one further token of each text, with the context in the cache, which stays in the runtime's "
            "memory from step to step. The study's latency, throughput and speed-up are of such a step with "
            f"{lines[0].cells[0]} tokens in the cache, at batch {record.batch}."
        )
    return text + " Peak memory is that of a fresh process that did both."


def _describe(one: Generation, row: Row) -> GeneratedRow:
    return GeneratedRow(
        row,
        (
            words.format_count(one.context),
            words.format_count(one.batch),
            words.format_ms(one.first_token.value),
            words.format_significant(one.prefill.value),
            cells.NOTHING if one.step is None else words.format_ms(one.step.value),
            cells.NOTHING if one.decode is None else words.format_significant(one.decode.value),
            cells.NOTHING if one.gain is None else words.format_ratio(one.gain.value),
            words.format_bytes(one.cache_bytes) if one.cache_bytes else cells.NOTHING,
            words.format_bytes(one.peak_memory_bytes),
        ),
        (
            "",
            "",
            cells.bounds_ms(one.first_token),
            _bound(one.prefill),
            "" if one.step is None else cells.bounds_ms(one.step),
            _bound(one.decode),
            _bound(one.gain),
            "",
            "",
        ),
    )


def _bound(estimate: Estimate | None) -> str:
    """Bounds of a rate or ratio."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    return f"{words.format_significant(estimate.low)} to {words.format_significant(estimate.high)}"


def _show(estimate: Estimate) -> RateDocument:
    return RateDocument(estimate.value, estimate.low, estimate.high, estimate.confidence, estimate.n)


def _show_known(estimate: Estimate | None) -> RateDocument | None:
    return None if estimate is None else _show(estimate)

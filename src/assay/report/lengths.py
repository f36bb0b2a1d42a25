"""Latency for each length of items, as a table: what a call of short ones takes, and one of long ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from assay.core.item_lengths import ItemLengths
from assay.core.trial import Latency, LengthLatency
from assay.decide import words
from assay.report import cells
from assay.report.rows import Row, keep_measured
from assay.studies.record import StudyRecord

MOST_COLUMNS = 8
"""Lengths that are shown; where there are more, those of most items."""


class LengthDocument(msgspec.Struct, frozen=True):
    """Calls of items of one length: median in ms, and how many times faster than FP32, call by call."""

    length: int
    share: float
    n: int
    p50: float
    p50_low: float | None
    p50_high: float | None
    speedup: float
    speedup_low: float | None
    speedup_high: float | None


class LengthsDocument(msgspec.Struct, frozen=True):
    """How items of different lengths were run; see ``assay.core.item_lengths.ItemLengths``."""

    buckets: tuple[int, ...]
    counts: tuple[tuple[int, int], ...]
    cut: int
    seed: int
    calls: int


@dataclass(frozen=True, slots=True)
class LengthRow:
    """A line: a variant, what a call of each length takes, and beneath that how many times faster than FP32."""

    row: Row
    cells: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def line(self) -> tuple[str, ...]:
        """The cells of a plain table."""
        both = (f"{cell} ({note})" if note else cell for cell, note in zip(self.cells, self.notes, strict=True))
        return (str(self.row.number), self.row.title, *both)


@dataclass(frozen=True, slots=True)
class LengthTable:
    """The whole table; without lines where all items are equally long."""

    header: tuple[str, ...]
    lines: tuple[LengthRow, ...]
    sentence: str


def tabulate_lengths(record: StudyRecord, rows: Sequence[Row]) -> LengthTable:
    """Latency by length, a line for each variant that ran."""
    lengths = record.lengths
    measured = [one for one in keep_measured(rows) if one.evidence.latency.lengths]
    if lengths is None or not measured:
        return LengthTable((), (), "")
    frequent = sorted(lengths.counts, key=lambda pair: -pair[1])[:MOST_COLUMNS]
    shown = sorted(length for length, _ in frequent)
    total = sum(count for _, count in lengths.counts)
    shares = {length: count / total for length, count in lengths.counts}
    titles = (f"p50 at {length} ({cells.format_share(shares[length])} of items)" for length in shown)
    lines = tuple(_describe(one.row, one.evidence.latency, shown) for one in measured)
    return LengthTable(("#", "variant", *titles), lines, explain_lengths(lengths))


def explain_lengths(lengths: ItemLengths) -> str:
    """How the items became calls."""
    if lengths.buckets:
        listed = ", ".join(map(str, lengths.buckets))
        text = f"Items were filled up to {listed}, each to the next of them, and a call holds items of one length."
    else:
        text = "Items were run in their own lengths, and a call holds items of one length."
    text += (
        f" Latency and throughput are those of {lengths.calls} calls drawn from the data's own lengths, for every "
        "variant the same in the same order; a speed-up is the median of the ratios call by call."
    )
    cut = lengths.cut
    if cut:
        text += f" {words.format_count(cut)} item{'s were' if cut > 1 else ' was'} longer than allowed and cut."
    return text


def show_lengths(latency: Latency) -> tuple[LengthDocument, ...]:
    """The stable JSON of latency by length."""
    return tuple(
        LengthDocument(
            length=one.length,
            share=one.share,
            n=one.n,
            p50=one.p50.value,
            p50_low=one.p50.low,
            p50_high=one.p50.high,
            speedup=one.speedup.value,
            speedup_low=one.speedup.low,
            speedup_high=one.speedup.high,
        )
        for one in latency.lengths
    )


def show_item_lengths(lengths: ItemLengths | None) -> LengthsDocument | None:
    """The stable JSON of how items of different lengths were run."""
    if lengths is None:
        return None
    return LengthsDocument(lengths.buckets, lengths.counts, lengths.cut, lengths.seed, lengths.calls)


def _describe(row: Row, latency: Latency, shown: Sequence[int]) -> LengthRow:
    known = {one.length: one for one in latency.lengths}
    found = [known.get(length) for length in shown]
    return LengthRow(
        row,
        tuple(cells.NOTHING if one is None else words.format_ms(one.p50.value) for one in found),
        tuple("" if one is None or row.trial.reference else _note(one) for one in found),
    )


def _note(one: LengthLatency) -> str:
    """How many times faster than FP32."""
    return words.format_ratio(one.speedup.value)

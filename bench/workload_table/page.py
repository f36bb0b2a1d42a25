"""``docs/workloads.md`` from the rows: one table, then each workload in words."""

from __future__ import annotations

from collections.abc import Sequence

from assay.decide import words
from workload_table.rows import Document, Row, Trial

NOTHING = "–"  # noqa: RUF001 - a dash is what typography wants in an empty cell
MINUS = "\N{MINUS SIGN}"
HEAD = (
    "workload",
    "FP32 metric",
    "chosen",
    "certified loss",
    "speed-up",
    "p50, p99",
    "memory",
    "size",
    "per million",
    "also",
)
MACHINE_FACTS = ("processor", "cpu", "model", "cores", "isa", "memory", "os", "kernel")
SECONDS_PER_MINUTE = 60.0
MOST_CONTEXTS = 3
MOST_THRESHOLDS = 2
MOST_LENGTHS = 4
INTRODUCTION = """# The workloads

Made by `make workloads` from `examples/*/study*.toml`; the numbers are in `bench/results/workloads.json`. Each row is
a study of an example as its README describes it: `make workloads` fetches what is missing, studies what was not
studied yet, one after the other, and writes this page. An example that cannot be fetched or studied has the reason in
its row.

- *FP32 metric*: of the reference, on the items that its certificate took; beside it what the model's source states.
- *certified loss*: of the chosen variant against FP32 on the same items, with the bounds at the confidence named, and
  what was tolerated. Positive is worse, whatever the metric's direction.
- *speed-up*: over the FP32 reference, paired in interleaved rounds, with its bounds. *p50, p99*: of one call.
- *memory*: highest resident set of a process that only runs the artifact, runtime included. FP32's stands in brackets,
  here and for the size and the money.
"""


def write_page(rows: Sequence[Row]) -> str:
    """The page."""
    table = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD), *(describe_row(row) for row in rows)]
    parts = [INTRODUCTION, describe_machines(rows), "\n".join(table), *(describe_study(row) for row in rows)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def describe_machines(rows: Sequence[Row]) -> str:
    """The machine and the versions, once where all rows have the same; else with the rows of each."""
    told: dict[str, list[str]] = {}
    for row in rows:
        if row.machine:
            facts = f"Machine: {list_facts(row.machine)}. Versions: {list_facts(row.versions)}."
            told.setdefault(facts, []).append(row.title)
    if len(told) == 1:
        return next(iter(told))
    # A title may hold a comma.
    return "\n".join(f"- {facts} Rows: {'; '.join(titles)}." for facts, titles in told.items())


def list_facts(facts: dict[str, str]) -> str:
    """Facts on one line."""
    return ", ".join(f"{name} {value}" for name, value in facts.items() if value)


def describe_row(row: Row) -> str:
    """A row of the table."""
    items = "" if row.items is None else f"<br>{words.format_count(row.items)} items, batch {row.batch}"
    first = f"**{row.title}**<br>{row.model}<br>{row.data}{items}"
    if row.reference is None or row.shown is None:
        why = row.reason or row.sentence or "not run yet"
        return "| " + " | ".join((first, why.replace("|", "\\|"), *[NOTHING] * (len(HEAD) - 2))) + " |"
    shown, reference = row.shown, row.reference
    cells = (
        first,
        describe_metric(row, reference),
        describe_choice(row, shown),
        describe_loss(row, shown),
        describe_speed(shown.speedup),
        f"{words.format_ms(shown.p50_ms)}<br>{words.format_ms(shown.p99_ms)}",
        beside(words.format_bytes(shown.memory_bytes), words.format_bytes(reference.memory_bytes)),
        beside(words.format_bytes(shown.size_bytes), words.format_bytes(reference.size_bytes)),
        beside(describe_cost(row, shown), describe_cost(row, reference)),
        "<br>".join(list_further(shown)) or NOTHING,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def beside(value: str, reference: str) -> str:
    """A value and the reference's in brackets."""
    return value if reference == value else f"{value}<br>({reference})"


def describe_metric(row: Row, reference: Trial) -> str:
    """The reference's metric, and what is stated of it."""
    if reference.value is None:
        return NOTHING
    found = f"{row.metric} {format_value(row, reference.value)}"
    stated = row.stated
    if stated is None:
        return found
    same = stated.metric == row.metric
    value = format_value(row, stated.value) if same else f"{stated.metric} {words.format_significant(stated.value, 4)}"
    verdict = {True: "agrees", False: "**does not agree**", None: "not compared"}[row.agrees]
    return f"{found}<br>stated: {value}, {verdict}"


def is_share(row: Row) -> bool:
    """The metric is a share, which is told in percent."""
    value = None if row.reference is None else row.reference.value
    return row.higher_is_better and value is not None and 0 <= value <= 1


def format_value(row: Row, value: float) -> str:
    """A value of the metric."""
    return f"{value * 100:.2f}%" if is_share(row) else words.format_significant(value, 4)


def format_change(row: Row, change: float | None) -> str:
    """A signed amount of the metric."""
    if change is None:
        return NOTHING
    sign = MINUS if change < 0 else ""
    return sign + (words.format_points(abs(change)) if is_share(row) else words.format_significant(abs(change)))


def describe_choice(row: Row, shown: Trial) -> str:
    """What was chosen."""
    return shown.name if row.status == "chosen" else f"none ({row.status}); best so far: {shown.name}"


def describe_loss(row: Row, shown: Trial) -> str:
    """The certified loss with its bounds."""
    certificate = shown.certificate
    if certificate is None:
        return "the reference itself" if shown == row.reference else NOTHING
    low, high = (format_change(row, certificate[key]) for key in ("low", "high"))
    confidence = words.format_confidence(certificate["confidence"])
    bounds = f"{low.removesuffix(' pp')} to {high} at {confidence}"
    kept = f"{certificate['status']}: {format_change(row, certificate['margin'])} tolerated, n = {certificate['n']:,}"
    return f"{format_change(row, certificate['loss'])}<br>{bounds}<br>{kept}"


def describe_speed(speedup: Document | None) -> str:
    """The speed-up with its bounds."""
    if speedup is None:
        return NOTHING
    bounds = [NOTHING if speedup[key] is None else words.format_ratio(speedup[key]) for key in ("low", "high")]
    return f"{words.format_ratio(speedup['value'])}<br>{bounds[0]} to {bounds[1]}"


def describe_cost(row: Row, trial: Trial) -> str:
    """Money per million items."""
    if trial.cost is None:
        return NOTHING
    return f"{words.format_significant(trial.cost['value'])} {row.currency}".strip()


def list_further(trial: Trial) -> list[str]:
    """What only some workloads have: bounded percentiles, tokens per second, frames per second, thresholds."""
    told = [describe_percentile(asked) for asked in trial.asked]
    told += [describe_generation(one) for one in trial.more.get("generation", [])[:MOST_CONTEXTS]]
    held = trial.more.get("held")
    told += [describe_held(held)] if held else []
    served = trial.more.get("served")
    told += [f"{words.format_significant(served['low'])} items/s served"] if served else []
    told += [describe_threshold(one) for one in trial.more.get("thresholds", [])[:MOST_THRESHOLDS]]
    frequent = sorted(trial.lengths, key=lambda one: -one["share"])[:MOST_LENGTHS]
    return told + [describe_length(one) for one in sorted(frequent, key=lambda one: one["length"])]


def describe_percentile(asked: Document) -> str:
    """A percentile that a constraint bounds."""
    high = "no upper bound" if asked["high"] is None else f"at most {words.format_ms(asked['high'])}"
    return f"p{asked['quantile'] * 100:g} {high} at {words.format_confidence(asked['confidence'])}"


def describe_generation(one: Document) -> str:
    """How a language model generates at a context."""
    place = f"context {one['context']}" + ("" if one["batch"] == 1 else f", {one['batch']} texts")
    decode, gain = one["decode_tokens_per_s"], one["decode_gain"]
    told = f"{place}: first token {words.format_ms(one['first_token_ms']['value'])}"
    if decode is not None:
        told += f", {words.format_significant(decode['value'])} tokens/s"
    return told if gain is None else f"{told} ({words.format_ratio(gain['value'])} its runtime's FP32)"


def describe_held(held: Document) -> str:
    """How an artifact ran held to a device."""
    limit = "" if held["limit_bytes"] is None else f" held to {words.format_bytes(held['limit_bytes'])}"
    rate = "" if held["fps_low"] is None else f", at least {words.format_significant(held['fps_low'])} frames/s"
    return f"{held['failure'] or 'ran'}{limit}{rate}, peak {words.format_bytes(held['peak_memory_bytes'])}"


def describe_threshold(one: Document) -> str:
    """What counts as positive."""
    label = "" if one["label"] is None else f" of label {one['label']}"
    return f"threshold{label} {words.format_significant(one['value'])}"


def describe_length(one: Document) -> str:
    """The speed at a length of items."""
    return f"{one['share']:.0%} of length {one['length']}: {words.format_ratio(one['speedup'])}"


def describe_study(row: Row) -> str:
    """A workload in words."""
    lines = [
        f"## {row.title}",
        f"`examples/{row.key.partition('-')[0]}`: {row.model}; {row.data}. Licences: {row.licence}.",
    ]
    if row.asked:
        asked = "; ".join(f"{name} {text}" for name, text in row.asked.items())
        lines.append(f"Asked: {asked}; batch {row.batch}, {row.threads} thread{'s' if row.threads != 1 else ''}.")
    lines.append(row.sentence or row.reason or "Not run yet.")
    if row.stated is not None:
        lines.append(describe_stated(row))
    if row.seconds is not None:
        minutes = row.seconds / SECONDS_PER_MINUTE
        lines.append(f"{row.trials} variants in {words.format_significant(minutes, 2)} minutes, on {row.created[:10]}.")
    return "\n\n".join(lines)


def describe_stated(row: Row) -> str:
    """What the source states, and whether it agrees."""
    stated = row.stated
    if stated is None:
        return ""
    share = row.metric == stated.metric and is_share(row)
    value = f"{stated.value * 100:g}%" if share else f"{stated.value:g}"
    within = f"{stated.within * 100:g} pp" if share else f"{stated.within:g}"
    told = f"Stated: {stated.metric} {value}, by {stated.source}."
    found = {True: f" It agrees (within {within}).", False: f" It does not agree within {within}.", None: ""}[
        row.agrees
    ]
    note = f" {stated.note[0].upper()}{stated.note[1:]}." if stated.note else ""
    return told + found + note

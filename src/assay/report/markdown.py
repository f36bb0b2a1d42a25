"""A study as Markdown: the same facts as the HTML report, without its charts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from assay.core.explanation import Explanation
from assay.core.requirements import Requirements
from assay.core.trial import Evidence
from assay.decide import words
from assay.report import cells, costs
from assay.report.blames import Explained, GuiltyRow, list_explained
from assay.report.certificates import CertifiedRow, explain_guarantee, list_certified, list_sliced
from assay.report.charts.units import find_loss_unit
from assay.report.detected import HEADER as CLASSES
from assay.report.detected import explain_detected, list_detected
from assay.report.device import HEADER as DEVICE
from assay.report.device import SENTENCE, list_held
from assay.report.facts import Facts, data_facts, machine_facts, model_facts, request_facts, version_facts
from assay.report.fitness import list_worst, summarise_convergence, summarise_fitness
from assay.report.flips import Gallery, pick_galleries
from assay.report.generation import HEADER, explain_generated, list_generated
from assay.report.lengths import tabulate_lengths
from assay.report.mixed_plans import MixedRow, MixedTable, list_mixed
from assay.report.percentiles import list_asked
from assay.report.rows import Row, keep_measured, list_rows, list_warnings
from assay.report.sample_plans import explain_plan, list_plan_facts
from assay.report.slices import STATUS_WORDS
from assay.report.thresholds import HEADER as THRESHOLDS
from assay.report.thresholds import explain_thresholds, list_thresholds
from assay.studies.record import StudyRecord

SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>#|"} | {"\n": " "})


def render_markdown(record: StudyRecord, explanations: Sequence[Explanation] = ()) -> str:
    """The whole report, with what was explained of the study's trials; ends in a line feed."""
    rows = list_rows(record)
    parts = [
        f"# {escape(record.title)}",
        f"**{record.decision.status.upper()}.** {escape(record.decision.sentence)}",
        *_warn(record, rows),
        *_certify(record),
        *_chain(record, rows),
        "## Trials",
        _tabulate_trials(record, rows),
        *_generate(record, rows),
        *_tell_thresholds(record, rows),
        *_detect(record),
        *_hold(rows),
        *_compare_lengths(record, rows),
        "## Reasons",
        "\n".join(f"{row.number}. {escape(row.title)}: {escape(row.reason)}" for row in rows),
        *_slice(record),
        *_mix(list_mixed(record, rows)),
        *_explain(list_explained(rows, explanations)),
        *_list_flips(pick_galleries(record, rows)),
        *_plan(record, rows),
        *_judge_calibration(record),
        "## Measurements",
        _tabulate_measurements(record, rows),
        "## Request",
        _tabulate_facts(request_facts(record)),
        "## Provenance",
        _tabulate_facts((*model_facts(record), *data_facts(record))),
        _tabulate_facts((*machine_facts(record), *version_facts(record))),
    ]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return text.translate(SPECIAL)


def _warn(record: StudyRecord, rows: Sequence[Row]) -> Iterable[str]:
    """Warnings and flags, before any number."""
    lines = [f"- {escape(warning)}" for warning in list_warnings(record, rows)]
    return ("## Warnings", "\n".join(lines)) if lines else ()


def _certify(record: StudyRecord) -> Iterable[str]:
    """Certificates in the order of testing, and what they promise."""
    certified = list_certified(record)
    if not certified:
        return ()
    header = ("test", "#", "variant", "outcome", "loss", "bounds", "tolerated", "items", "method", "remark")
    lines = [_describe_certificate(row) for row in certified]
    return ("## Certificates", escape(explain_guarantee(record, certified)), _tabulate(header, lines))


def _describe_certificate(row: CertifiedRow) -> tuple[str, ...]:
    """Cells of one certificate."""
    return (
        row.order,
        str(row.measured.row.number),
        row.measured.row.title,
        row.outcome.words,
        row.loss,
        row.bounds or cells.NOTHING,
        row.margin,
        row.items,
        row.method,
        row.certificate.reason or cells.NOTHING,
    )


def _generate(record: StudyRecord, rows: Sequence[Row]) -> Iterable[str]:
    """How the variants of a language model generate."""
    lines = list_generated(rows)
    if not lines:
        return ()
    return ("## Generation", escape(explain_generated(record, lines)), _tabulate(HEADER, [line.line for line in lines]))


def _compare_lengths(record: StudyRecord, rows: Sequence[Row]) -> Iterable[str]:
    """Latency for each length of items."""
    table = tabulate_lengths(record, rows)
    if not table.lines:
        return ()
    return ("## Latency by length", escape(table.sentence), _tabulate(table.header, [one.line for one in table.lines]))


def _tell_thresholds(record: StudyRecord, rows: Sequence[Row]) -> Iterable[str]:
    """What counts as positive under each variant."""
    sentence, lines = explain_thresholds(record), list_thresholds(record, rows)
    if not sentence:
        return ()
    tables = (_tabulate(THRESHOLDS, [line.line for line in lines]),) if lines else ()
    return ("## Thresholds", escape(sentence), *tables)


def _detect(record: StudyRecord) -> Iterable[str]:
    """What a detector finds of each class."""
    sentence = explain_detected(record)
    return ("## By class", escape(sentence), _tabulate(CLASSES, list_detected(record))) if sentence else ()


def _hold(rows: Sequence[Row]) -> Iterable[str]:
    """How artifacts ran under the limits of a device."""
    lines = list_held(rows)
    return ("## On the device", escape(SENTENCE), _tabulate(DEVICE, lines)) if lines else ()


def _slice(record: StudyRecord) -> Iterable[str]:
    """The worst parts of the items, for the chosen one and for those that a part rejected."""
    sliced = list_sliced(record, list_certified(record))
    header = (
        "#",
        "part",
        "outcome",
        "loss",
        "bounds",
        "tolerated",
        "FP32",
        "variant",
        "items",
        "least items",
        "remark",
    )
    lines = [
        (
            str(row.measured.row.number),
            part.name,
            STATUS_WORDS[part.part.status],
            part.loss,
            part.bounds,
            part.margin,
            *part.values,
            words.format_count(part.part.n),
            part.least,
            part.part.reason or cells.NOTHING,
        )
        for row in sliced
        for part in row.slices
    ]
    return ("## Parts of the items", _tabulate(header, lines)) if lines else ()


def _mix(tables: Sequence[MixedTable]) -> Iterable[str]:
    """The mixed plans that were tried, search by search."""
    header = ("tried", "#", "variant", "outcome", "groups in floats", "predicted", "p50", "signal to noise", "change")
    for number, table in enumerate(tables):
        if not number:
            yield "## Mixed plans"
        yield f"### {table.base.number}. {escape(table.base.title)}"
        yield escape(table.sentence)
        if table.rows:
            yield _tabulate(header, [_describe_mixed(row) for row in table.rows])


def _describe_mixed(row: MixedRow) -> tuple[str, ...]:
    """Cells of one mixed plan."""
    return (
        str(row.place),
        str(row.row.number),
        row.row.title,
        row.row.standing,
        row.kept,
        row.predicted,
        row.measured,
        row.noise,
        cells.change_cell(row.row),
    )


def _explain(explained: Sequence[Explained]) -> Iterable[str]:
    """The groups that cost a trial its answers, and what may mend them."""
    usual = ("rank", "group", "operators", "share", "loss", "alone", "so far", "kept", "activation", "values")
    header = (*usual, "range", "clipped", "outlying")
    for number, one in enumerate(explained):
        if not number:
            yield "## Where the loss comes from"
        yield f"### {one.row.number}. {escape(one.row.title)}"
        yield escape(one.sentence)
        if one.rows:
            yield _tabulate((*header, "format") if one.formats else header, map(_describe_guilty, one.rows))
            mends = [(row, proposal) for row in one.rows for proposal in row.proposals]
            yield "\n".join(f"- {escape(f'{r.rank}, {r.name}: {p.text}: {p.reason}')}" for r, p in mends)
        if one.rest:
            yield escape(one.rest)


def _describe_guilty(row: GuiltyRow) -> tuple[str, ...]:
    """Cells of one group."""
    measured = (row.share, row.loss, row.alone, row.so_far, row.kept, row.tensor, row.values, row.limits)
    return (str(row.rank), row.name, row.operators, *measured, row.clipped, row.outlying, *filter(None, [row.format]))


def _list_flips(galleries: Sequence[Gallery]) -> Iterable[str]:
    """What broke, without pictures."""
    header = ("#", "item", "right answer", "FP32", "variant", "remark", "text")
    lines = [
        (
            str(gallery.row.number),
            str(flip.item),
            flip.target or cells.NOTHING,
            flip.before,
            flip.after,
            flip.remark or cells.NOTHING,
            flip.text or cells.NOTHING,
        )
        for gallery in galleries
        for flip in gallery.flips
    ]
    return ("## What broke", _tabulate(header, lines)) if lines else ()


def _plan(record: StudyRecord, rows: Sequence[Row]) -> Iterable[str]:
    """How many items the certificates take."""
    if record.plan is None:
        return ()
    unit = find_loss_unit(record.requirements.tolerance.metric, keep_measured(rows))
    facts = tuple((name, f"{value} ({note})") for name, value, note in list_plan_facts(record.plan, unit))
    return ("## How many items it takes", escape(explain_plan(record.plan, unit)), _tabulate_facts(facts))


def _chain(record: StudyRecord, rows: Sequence[Row]) -> Iterable[str]:
    """The chosen one and what takes over."""
    if record.decision.chosen is None:
        return ()
    titles = {row.trial.id: row.title for row in rows}
    chain = (record.decision.chosen, *record.decision.fallbacks)
    return (
        "## Fallback chain",
        "\n".join(f"{i}. {escape(titles[name])} (`{name}`)" for i, name in enumerate(chain, 1)),
    )


def _tabulate_trials(record: StudyRecord, rows: Sequence[Row]) -> str:
    """One line per trial."""
    requirements = record.requirements
    priced = requirements.price_per_hour is not None
    usual = ("#", "variant", "outcome", "change", "bounds", "p50 per call", "speed-up", "size", "executed")
    header = (*usual, *((costs.name_cost(requirements), "bounds of the cost") if priced else ()))
    lines = []
    for row in rows:
        evidence = row.trial.evidence
        measured = (
            (cells.NOTHING, cells.NOTHING, cells.size_cell(row), *(cells.NOTHING,) * (3 if priced else 1))
            if evidence is None
            else (
                words.format_ms(evidence.latency.p50.value),
                cells.speedup_cell(evidence),
                cells.size_cell(row),
                cells.executed_cell(evidence),
                *(_cost(requirements, evidence) if priced else ()),
            )
        )
        bounds = cells.change_bounds(row) or cells.NOTHING
        lines.append((str(row.number), row.title, str(row.standing), cells.change_cell(row), bounds, *measured))
    return _tabulate(header, lines)


def _cost(requirements: Requirements, evidence: Evidence) -> tuple[str, str]:
    """Cost of a million items with its bounds."""
    return costs.cost_cell(requirements, evidence), costs.cost_bounds(requirements, evidence) or cells.NOTHING


def _tabulate_measurements(record: StudyRecord, rows: Sequence[Row]) -> str:
    """Everything else that was measured."""
    requirements, measured = record.requirements, keep_measured(rows)
    evidences = [m.evidence for m in measured]
    asked, money = list_asked(requirements, evidences), costs.pick_columns(requirements, evidences)
    header = (
        "#",
        "p95",
        "p99",
        "items/s",
        "peak memory",
        "load",
        "CPU per item",
        "energy per item",
        "flips lost / won",
        *(column.title for column in asked),
        *(("items/s that keep the latency", "of that rate") if money.served else ()),
        *(("CO2e per million items",) if money.carbon else ()),
    )
    lines = [
        (
            str(m.row.number),
            f"{words.format_ms(m.evidence.latency.p95.value)} ({cells.bounds_ms(m.evidence.latency.p95)})",
            f"{words.format_ms(m.evidence.latency.p99.value)} ({cells.bounds_ms(m.evidence.latency.p99)})",
            words.format_significant(m.evidence.throughput.value),
            words.format_bytes(m.evidence.footprint.peak_memory_bytes),
            words.format_ms(m.evidence.footprint.load_ms),
            cells.cpu_cell(m.evidence),
            cells.energy_cell(m.evidence),
            cells.flips_cell(m.evidence),
            *(f"{column.cell(m.evidence)} ({column.bounds(m.evidence) or 'not measured'})" for column in asked),
            *((costs.served_cell(m.evidence), costs.served_note(m.evidence)) if money.served else ()),
            *((costs.carbon_cell(requirements, m.evidence),) if money.carbon else ()),
        )
        for m in measured
    ]
    return _tabulate(header, lines)


def _judge_calibration(record: StudyRecord) -> Iterable[str]:
    """Fitness of the calibration items."""
    fitness = record.fitness
    if fitness is None:
        return ()
    header = ("tensor", "noise added", "cut off", "range unused", "distance")
    lines = [
        (row.tensor, *(f"{value} ({bounds})" if bounds else value for value, bounds in measured))
        for row in list_worst(fitness)
        for measured in [(row.noise, row.clipped, row.unused, row.distance)]
    ]
    reasons = "\n".join(f"- {escape(reason)}" for reason in fitness.reasons)
    settled = "" if record.convergence is None else escape(summarise_convergence(record.convergence))
    parts = ("## Calibration", escape(summarise_fitness(fitness)), reasons, settled, _tabulate(header, lines))
    return tuple(part for part in parts if part)


def _tabulate_facts(facts: Facts) -> str:
    """Two columns."""
    return _tabulate(("fact", "value"), facts)


def _tabulate(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    body = ["| " + " | ".join(escape(cell) for cell in line) + " |" for line in (header, *lines)]
    return "\n".join([body[0], "|" + " --- |" * len(header), *body[1:]])

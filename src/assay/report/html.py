"""A study as one HTML file that needs nothing else: no script, no font, no image from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from assay.core.decision import DecisionStatus
from assay.core.explanation import Explanation
from assay.core.requirements import Objective
from assay.core.trial import Evidence
from assay.decide import words
from assay.report import cells, costs, facts
from assay.report.blames import Explained, list_explained
from assay.report.certificates import CertifiedRow, explain_guarantee, list_certified, list_sliced
from assay.report.charts.audit import draw_audit
from assay.report.charts.canvas import Chart
from assay.report.charts.certificates import draw_certificates
from assay.report.charts.convergence import draw_convergence
from assay.report.charts.forest import draw_forest
from assay.report.charts.groups import draw_groups
from assay.report.charts.latency import draw_latency
from assay.report.charts.tradeoff import draw_tradeoff
from assay.report.charts.trail import draw_trail
from assay.report.charts.units import find_loss_unit
from assay.report.costs import estimate_cost, pick_columns
from assay.report.detected import HEADER as CLASSES
from assay.report.detected import explain_detected, list_detected
from assay.report.device import HEADER as DEVICE
from assay.report.device import SENTENCE, list_held
from assay.report.fitness import BADGES as FITNESS_BADGES
from assay.report.fitness import list_worst, summarise_convergence, summarise_fitness
from assay.report.flips import pick_galleries
from assay.report.generation import HEADER, explain_generated, list_generated
from assay.report.lengths import tabulate_lengths
from assay.report.mixed_plans import list_mixed
from assay.report.percentiles import list_asked
from assay.report.rows import MeasuredRow, Row, keep_measured, list_rows, list_warnings
from assay.report.sample_plans import explain_plan, list_plan_facts
from assay.report.slices import STATUS_TONES, STATUS_WORDS
from assay.report.thresholds import HEADER as THRESHOLDS
from assay.report.thresholds import explain_thresholds, list_thresholds
from assay.studies.record import StudyRecord

BADGES = {
    DecisionStatus.CHOSEN: "Chosen",
    DecisionStatus.UNDECIDED: "The data cannot tell",
    DecisionStatus.NONE: "Nothing fits",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A key figure: a number with its name and what it is compared with."""

    name: str
    value: str
    note: str


def render_html(record: StudyRecord, explanations: Sequence[Explanation] = ()) -> str:
    """The whole report as one self-contained page, with what was explained of the study's trials."""
    rows = list_rows(record)
    measured = keep_measured(rows)
    certified = list_certified(record)
    by_id = {row.trial.id: row for row in rows}
    chosen = record.decision.chosen
    chain = () if chosen is None else tuple(by_id[name] for name in (chosen, *record.decision.fallbacks))
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            record=record,
            answer=record.decision.sentence.partition("; "),
            badge=BADGES[record.decision.status],
            figures=list_figures(record, measured),
            warnings=list_warnings(record, rows),
            chain=chain,
            rows=rows,
            measured=measured,
            charts=_draw_charts(record, certified),
            metric=record.requirements.tolerance.metric,
            created=facts.format_date(record.created),
            has_energy=any(m.evidence.energy is not None for m in measured),
            energy_notes=tuple(dict.fromkeys(m.evidence.energy_note for m in measured if m.evidence.energy_note)),
            **_ask(record, measured),
            **_judge_calibration(record),
            **_tell_certificates(record, certified),
            galleries=pick_galleries(record, rows),
            explained=_explain(rows, explanations),
            mixed=list_mixed(record, rows),
            **_generate(record, rows),
            **_tell_thresholds(record, rows),
            **_tell_detected(record),
            **_tell_device(rows),
            lengths=tabulate_lengths(record, rows),
            provenance=_tell_provenance(record),
        )
    )


def _tell_detected(record: StudyRecord) -> dict[str, object]:
    """What the page says of each class that a detector finds."""
    sentence = explain_detected(record)
    return {"detected": list_detected(record), "detected_header": CLASSES, "detected_sentence": sentence}


def _tell_device(rows: Sequence[Row]) -> dict[str, object]:
    """What the page says of artifacts that were held to a device."""
    return {"held": list_held(rows), "held_header": DEVICE, "held_sentence": SENTENCE}


def _tell_provenance(record: StudyRecord) -> tuple[tuple[str, facts.Facts], ...]:
    """What was asked for, of what, and where."""
    return (
        ("Request", facts.request_facts(record)),
        ("Model", facts.model_facts(record)),
        ("Data", facts.data_facts(record)),
        ("Machine", facts.machine_facts(record)),
        ("Versions", facts.version_facts(record)),
    )


def _generate(record: StudyRecord, rows: Sequence[Row]) -> dict[str, object]:
    """What the page says of how a language model generates."""
    lines = list_generated(rows)
    return {
        "generated": lines,
        "generated_header": HEADER,
        "generated_sentence": explain_generated(record, lines),
    }


def _tell_thresholds(record: StudyRecord, rows: Sequence[Row]) -> dict[str, object]:
    """What the page says of what counts as positive."""
    return {
        "thresholds": list_thresholds(record, rows),
        "thresholds_header": THRESHOLDS,
        "thresholds_sentence": explain_thresholds(record),
    }


def _explain(rows: Sequence[Row], explanations: Sequence[Explanation]) -> tuple[tuple[Explained, Chart], ...]:
    """What was explained, each with its drawing."""
    found = list_explained(rows, explanations)
    return tuple((one, draw_groups(one, f"groups-{number}")) for number, one in enumerate(found, 1))


def _ask(record: StudyRecord, measured: Sequence[MeasuredRow]) -> dict[str, object]:
    """Columns of what only this study asked for: percentiles, a served rate, money."""
    requirements, evidences = record.requirements, [m.evidence for m in measured]
    unpriced = sum(estimate_cost(requirements, evidence) is None for evidence in evidences)
    return {
        "requirements": requirements,
        "asked": list_asked(requirements, evidences),
        "money": pick_columns(requirements, evidences),
        "unpriced": unpriced if requirements.objective is Objective.COST else 0,
    }


def _judge_calibration(record: StudyRecord) -> dict[str, object]:
    """What the page says of the calibration items."""
    fitness, convergence = record.fitness, record.convergence
    return {
        "fitness_tone": "" if fitness is None else FITNESS_BADGES[fitness.verdict],
        "fitness_sentence": "" if fitness is None else summarise_fitness(fitness).partition(": ")[2],
        "settled_sentence": "" if convergence is None else summarise_convergence(convergence),
        "fitness_rows": () if fitness is None else list_worst(fitness),
    }


def _tell_certificates(record: StudyRecord, certified: Sequence[CertifiedRow]) -> dict[str, object]:
    """What the page says of the certificates and of the plan behind them."""
    unit = find_loss_unit(record.requirements.tolerance.metric, keep_measured(list_rows(record)))
    return {
        "certified": certified,
        "guarantee": explain_guarantee(record, certified) if certified else "",
        "sliced": list_sliced(record, certified),
        "plan_facts": () if record.plan is None else list_plan_facts(record.plan, unit),
        "plan_sentence": "" if record.plan is None else explain_plan(record.plan, unit),
    }


def list_figures(record: StudyRecord, measured: Sequence[MeasuredRow]) -> tuple[Figure, ...]:
    """Key figures of the chosen trial, or of the best so far."""
    name = record.decision.chosen or record.decision.best
    leader = next((m for m in measured if m.row.trial.id == name), None)
    reference = next((m for m in measured if m.row.trial.reference), None)
    if leader is None:
        return ()
    evidence = leader.evidence
    latency, footprint = evidence.latency, evidence.footprint
    whole = None if reference is None or reference is leader else reference.evidence
    figures = [
        Figure("speed-up over FP32", cells.speedup_cell(evidence), cells.speedup_bounds(evidence)),
        _figure_loss(record, leader.row),
        Figure("p50 of a call", words.format_ms(latency.p50.value), cells.bounds_ms(latency.p50)),
        _figure_tail(record, evidence),
        _figure_cost(record, evidence, whole)
        if record.requirements.objective is Objective.COST
        else Figure(
            "size on disk",
            words.format_bytes(footprint.size_bytes),
            f"FP32 {words.format_bytes(whole.footprint.size_bytes)}" if whole else "",
        ),
        Figure(
            "peak memory",
            words.format_bytes(footprint.peak_memory_bytes),
            f"FP32 {words.format_bytes(whole.footprint.peak_memory_bytes)}" if whole else "",
        ),
    ]
    return tuple(figures)


def _figure_tail(record: StudyRecord, evidence: Evidence) -> Figure:
    """The highest percentile: the one that a constraint bounds at its own confidence, or p99."""
    asked = list_asked(record.requirements, [evidence])
    if asked:
        return Figure(f"{asked[-1].title}, a call", asked[-1].cell(evidence), asked[-1].bounds(evidence))
    return Figure("p99 of a call", words.format_ms(evidence.latency.p99.value), cells.bounds_ms(evidence.latency.p99))


def _figure_cost(record: StudyRecord, evidence: Evidence, whole: Evidence | None) -> Figure:
    """Cost of a million items beside that of the reference."""
    requirements = record.requirements
    known = whole is not None and estimate_cost(requirements, whole) is not None
    note = f"FP32 {costs.cost_cell(requirements, whole)}" if whole and known else ""
    bounds = costs.cost_bounds(requirements, evidence)
    return Figure("cost per million", costs.cost_cell(requirements, evidence), note or bounds)


def _figure_loss(record: StudyRecord, row: Row) -> Figure:
    """Change of the metric, with what was tolerated."""
    metric = record.requirements.tolerance.metric
    if row.trial.reference:
        return Figure(metric, cells.value_cell(row), "the reference")
    certified = next((c for c in list_certified(record) if c.measured.row.trial.id == row.trial.id and c.tested), None)
    if certified is not None:
        high, confidence = certified.certificate.high, words.format_confidence(certified.certificate.confidence)
        return Figure(
            f"loss of {metric}, at most", certified.unit.say(high), f"at {confidence}; tolerated {certified.margin}"
        )
    return Figure(f"change of {metric}", cells.change_cell(row), cells.change_bounds(row))


def _draw_charts(record: StudyRecord, certified: Sequence[CertifiedRow]) -> dict[str, Chart | None]:
    """All charts of the page; the objective gets its own where it is not the latency."""
    objective = record.requirements.objective
    return {
        "tradeoff": draw_tradeoff(record),
        "objective": None if objective is Objective.LATENCY else draw_tradeoff(record, objective),
        "forest": None if certified else draw_forest(record),
        "certificates": draw_certificates(certified),
        "trail": draw_trail(certified),
        "audit": draw_audit(record),
        "latency": draw_latency(record),
        "convergence": None if record.convergence is None else draw_convergence(record.convergence),
    }


@cache
def _environment() -> Environment:
    """Templates that escape every value and refuse unknown names."""
    environment = Environment(
        loader=PackageLoader("assay.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["cells"] = cells
    environment.globals["costs"] = costs
    environment.globals["words"] = words
    environment.globals["status_words"] = STATUS_WORDS
    environment.globals["status_tones"] = STATUS_TONES
    environment.filters["svg"] = Markup
    return environment

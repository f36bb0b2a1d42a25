"""Where a study's numbers come from, as pairs of a name and a text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime

from assay.core.requirements import Objective
from assay.data.lengths import Lengths
from assay.data.text_options import TextOptions
from assay.decide import words
from assay.studies.record import DataProvenance, StudyRecord

Facts = tuple[tuple[str, str], ...]
SECONDS_PER_MINUTE = 60.0

OBJECTIVES = {
    Objective.LATENCY: "lowest latency",
    Objective.THROUGHPUT: "highest throughput",
    Objective.MEMORY: "least memory",
    Objective.SIZE: "smallest size",
    Objective.COST: "lowest cost per million items",
}


def request_facts(record: StudyRecord) -> Facts:
    """What was asked for."""
    requirements = record.requirements
    facts = [
        ("tolerance", requirements.tolerance.text),
        ("confidence", f"{words.format_confidence(requirements.confidence)}, one-sided"),
        ("objective", OBJECTIVES[requirements.objective]),
        ("constraints", "; ".join(c.text for c in requirements.constraints) or "none"),
    ]
    if requirements.price_per_hour is not None:
        price = f"{words.format_significant(requirements.price_per_hour)} {requirements.currency}".strip()
        facts.append(("price per hour", price))
    if requirements.grid_g_per_kwh is not None:
        facts.append(("grid", f"{words.format_significant(requirements.grid_g_per_kwh)} g CO2e per kWh"))
    if record.threshold is not None:
        facts.append(("threshold", record.threshold.text))
    facts += [
        ("task", record.task),
        ("batch", str(record.batch)),
        ("threads", str(record.threads)),
        ("measured", f"{format_date(record.created)}, in {format_seconds(record.seconds)}"),
    ]
    return tuple(facts)


def model_facts(record: StudyRecord) -> Facts:
    """The model."""
    model = record.model
    return (
        ("file", model.file),
        ("SHA-256", model.sha256),
        ("size", words.format_bytes(model.size_bytes)),
        ("opset", str(model.opset)),
        ("parameters", words.format_count(model.parameters)),
        ("multiply-accumulates per item", words.format_count(model.macs)),
        ("inputs", "; ".join(model.inputs)),
        ("outputs", "; ".join(model.outputs)),
    )


def data_facts(record: StudyRecord) -> Facts:
    """The data."""
    calibration = ("none",) if record.calibration is None else _describe_data(record.calibration)
    return (
        ("evaluation", ", ".join(_describe_data(record.evaluation))),
        ("calibration", ", ".join(calibration)),
        ("preprocessing", _describe_preprocessing(record)),
    )


def machine_facts(record: StudyRecord) -> Facts:
    """The machine that measured."""
    return tuple(record.machine.items())


def version_facts(record: StudyRecord) -> Facts:
    """The tools."""
    return tuple(sorted(record.versions.items()))


def format_seconds(seconds: float) -> str:
    """A long duration."""
    if seconds < SECONDS_PER_MINUTE:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def format_date(created: str) -> str:
    """An ISO 8601 moment in UTC without its letters; any other text as it is."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _describe_preprocessing(record: StudyRecord) -> str:
    """What the request declared beyond the defaults."""
    declared = record.preprocess
    if declared is None:
        return "none declared"
    plain = {field.name: field.default for field in fields(declared)}
    parts = [
        f"{name.replace('_', ' ')} {_list_values(value)}"
        for name, normal in plain.items()
        if (value := getattr(declared, name)) != normal
    ]
    return ", ".join(parts) or "none declared"


def _list_values(value: object) -> str:
    """One value, or several with spaces between them; of a group of keys those that are not as usual."""
    if isinstance(value, TextOptions | Lengths):
        keys = ((one.name, getattr(value, one.name), one.default) for one in fields(value))
        return ", ".join(f"{name.replace('_', ' ')} {_list_values(own)}" for name, own, usual in keys if own != usual)
    return " ".join(str(part) for part in value) if isinstance(value, tuple) else str(value)


def _describe_data(data: DataProvenance) -> Iterable[str]:
    """Source, number of items and fingerprint."""
    return (data.source, f"{words.format_count(data.items)} items", f"fingerprint {data.fingerprint}")

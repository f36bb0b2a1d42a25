"""A row of the table: what an example states, and what its finished study measured and decided."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec

import assay
from assay.decide.words import name_candidate
from assay.report.facts import request_facts
from workload_table.catalogue import Example, Stated

Document = dict[str, Any]
ASKED = ("tolerance", "constraints", "objective")


class Trial(msgspec.Struct, frozen=True):
    """A variant: the reference, or what was chosen.

    Attributes:
        value: of the metric, over ``items``.
        certificate: as in the study's JSON; losses in the metric's own unit, positive is worse.
        speedup: over the FP32 reference, paired, as in the study's JSON.
        cost: money per million items, as in the study's JSON.
        asked: percentiles of the latency that constraints bound, as in the study's JSON.
        lengths: latency at each length of items, as in the study's JSON.
        more: further measurements of the study's JSON that are not null, by their key.
    """

    name: str
    runtime: str
    precision: str
    value: float | None
    items: int | None
    p50_ms: float
    p99_ms: float
    size_bytes: int
    memory_bytes: int
    certificate: Document | None
    speedup: Document | None
    cost: Document | None
    asked: list[Document] = []
    lengths: list[Document] = []
    more: Document = {}


class Row(msgspec.Struct, frozen=True):
    """One study file of an example.

    Attributes:
        content: hash of what was asked.
        status: ``chosen``, ``none``, ``undecided``, or ``failed`` where there is no decision.
        reason: why it failed; else empty.
        shown: the chosen variant, or the best where none was chosen.
        agrees: whether the reference has the metric that is stated; None where that cannot be told.
    """

    key: str
    title: str
    place: int
    model: str
    data: str
    licence: str
    content: str
    status: str
    reason: str = ""
    sentence: str = ""
    asked: dict[str, str] = {}
    metric: str = ""
    higher_is_better: bool = True
    items: int | None = None
    batch: int | None = None
    threads: int | None = None
    currency: str = ""
    stated: Stated | None = None
    agrees: bool | None = None
    reference: Trial | None = None
    shown: Trial | None = None
    trials: int | None = None
    seconds: float | None = None
    created: str = ""
    machine: dict[str, str] = {}
    versions: dict[str, str] = {}


KNOWN = {
    *("id", "runtime", "precision", "status", "reason", "reference", "quality", "latency_ms", "throughput_per_s"),
    *("size_bytes", "peak_memory_bytes", "load_ms", "executed", "flags", "speedup", "throughput", "certificate"),
    *("model_memory_bytes", "first_run_ms", "cpu_ms_per_item", "energy_note", "cost_per_million", "faults"),
    "served_note",
}
"""Keys of a trial's JSON that a row has under a name of its own, or leaves out."""


def begin_row(example: Example, status: str, reason: str = "") -> Row:
    """A row without measurements."""
    statement = example.statement
    return Row(
        key=example.key,
        title=statement.title,
        place=statement.place,
        model=statement.model,
        data=statement.data,
        licence=statement.licence,
        content=example.content,
        status=status,
        reason=reason,
        stated=statement.stated,
    )


def read_row(example: Example, folder: Path) -> Row:
    """The row of a finished study."""
    study = assay.open_study(folder)
    record = study.record
    document: Document = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    decision = study.decision
    names = {trial.id: name_candidate(trial.candidate) for trial in record.trials}
    trials: list[Document] = document["trials"]
    reference = next((trial for trial in trials if trial["reference"]), None)
    shown = next((trial for trial in trials if trial["id"] == (decision.chosen or decision.best)), None)
    first = None if reference is None else describe_trial(reference, names)
    metric = record.requirements.tolerance.metric
    stated = example.statement.stated
    return msgspec.structs.replace(
        begin_row(example, str(decision.status)),
        sentence=decision.sentence,
        asked={name: text for name, text in request_facts(record) if name in ASKED and text != "none"},
        metric=metric,
        higher_is_better=all(
            t.evidence.quality.higher_is_better for t in record.trials if t.evidence and t.evidence.quality
        ),
        items=record.evaluation.items,
        batch=record.batch,
        threads=record.threads,
        currency=record.requirements.currency,
        agrees=None if first is None else agree(stated, metric, first.value),
        reference=first,
        shown=None if shown is None else describe_trial(shown, names),
        trials=len(trials),
        seconds=record.seconds,
        created=record.created,
        machine=dict(record.machine),
        versions=dict(record.versions),
    )


def describe_trial(trial: Document, names: dict[str, str]) -> Trial | None:
    """A trial that was measured."""
    if trial["latency_ms"] is None:
        return None
    quality: Document = trial["quality"] or {}
    return Trial(
        name=names[trial["id"]],
        runtime=trial["runtime"],
        precision=trial["precision"],
        value=quality.get("value"),
        items=quality.get("n"),
        p50_ms=trial["latency_ms"]["p50"],
        p99_ms=trial["latency_ms"]["p99"],
        size_bytes=trial["size_bytes"],
        memory_bytes=trial["peak_memory_bytes"],
        certificate=trial["certificate"],
        speedup=trial["speedup"],
        cost=trial["cost_per_million"],
        asked=trial["latency_ms"].get("asked", []),
        lengths=trial["latency_ms"].get("lengths", []),
        more={key: value for key, value in trial.items() if key not in KNOWN and value is not None},
    )


def agree(stated: Stated | None, metric: str, value: float | None) -> bool | None:
    """Whether a measured metric is the stated one; None where nothing can be compared."""
    if stated is None or not stated.comparable or stated.metric != metric or value is None:
        return None
    return math.isfinite(value) and abs(value - stated.value) <= stated.within

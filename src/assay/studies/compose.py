"""From the keys of a study file or of flags to a checked request."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec

from assay.backends.table import list_backends
from assay.core.errors import RequestError
from assay.core.generation import GenerationPlan
from assay.core.mixing import MixedBudget
from assay.core.precision import STANDARD_PRECISIONS, Precision, RangeMethod, Repair
from assay.core.requirements import (
    CLASS_COLUMN,
    UNITS,
    Bounded,
    Constraint,
    Objective,
    Requirements,
    SliceRule,
    Tolerance,
)
from assay.core.task_settings import TaskSettings
from assay.core.threshold import ThresholdRule
from assay.data.source import DataSource, Preprocess
from assay.studies.config import DataSection, PreprocessSection, StudyFile
from assay.studies.decoders import compose_decoding
from assay.studies.devices import apply_device, describe_device, read_device
from assay.studies.prices import find_price
from assay.studies.request import DEFAULT_RANGES, DEFAULT_RUNTIMES, StudyRequest
from assay.studies.text_keys import compose_lengths, compose_text, list_set

Choice = TypeVar("Choice", bound=StrEnum)
NONE = "none"
MINIMIZED = (Objective.LATENCY, Objective.MEMORY, Objective.SIZE, Objective.COST)
MAXIMIZED = (Objective.THROUGHPUT,)


def compose_request(keys: StudyFile) -> StudyRequest:
    """A request from all keys.

    Raises:
        RequestError: a key is missing, unknown, or contradicts another.
    """
    keys = apply_device(keys)
    evaluation = compose_source("evaluation", keys.evaluation, keys.preprocess)
    if evaluation is None:
        raise RequestError("no evaluation data is named", "give --evaluation, or [evaluation] path in the study file")
    rules = tuple(SliceRule.parse(text) for text in keys.slices or ())
    columns = tuple(rule.column for rule in rules if rule.column != CLASS_COLUMN)
    given = {
        "batch": keys.batch,
        "threads": keys.threads,
        "latency_seconds": keys.latency_seconds,
        "trial_seconds": keys.trial_seconds,
        "trial_memory": None if keys.trial_memory is None else parse_bytes("trial_memory", keys.trial_memory),
        "calibration_items": keys.calibration.items if keys.calibration else None,
        "accept_unfit": keys.accept_unfit,
        "accept_unresolvable": keys.accept_unresolvable,
        "sequential": keys.sequential,
        "title": keys.title,
        "mixed": compose_budget(keys),
        "generation": compose_generation(keys),
        "settings": TaskSettings(compose_decoding(keys)),
        "device": None if keys.device is None else describe_device(read_device(Path(keys.device))),
        "threshold": None if keys.threshold is None else ThresholdRule.parse(str(keys.threshold)),
        "tuning_items": keys.tuning_items,
        "build_for": keys.build_for,
    }
    return StudyRequest(
        model=Path(require(keys.model, "model", "the ONNX file")),
        output=Path(require(keys.output, "output", "the study's folder")),
        task=require(keys.task, "task", "such as classification"),
        evaluation=replace(evaluation, columns=columns),
        requirements=replace(compose_requirements(keys), slices=rules),
        calibration=compose_source("calibration", keys.calibration, keys.preprocess),
        runtimes=choose_names("runtime", keys.runtimes, list_backends()) or DEFAULT_RUNTIMES,
        precisions=choose("precision", keys.precisions, Precision) or STANDARD_PRECISIONS,
        repairs=choose_repairs(keys.repairs),
        production=compose_source("production", keys.production, keys.preprocess),
        ranges=() if keys.ranges == (NONE,) else choose("range method", keys.ranges, RangeMethod) or DEFAULT_RANGES,
        **{key: value for key, value in given.items() if value is not None},  # type: ignore[arg-type] # checked by the struct
    )


def compose_budget(keys: StudyFile) -> MixedBudget:
    """What the search over mixed plans may take."""
    standard = MixedBudget()
    return MixedBudget(
        plans=standard.plans if keys.mixed_plans is None else keys.mixed_plans,
        seconds=standard.seconds if keys.mixed_seconds is None else keys.mixed_seconds,
    )


def compose_generation(keys: StudyFile) -> GenerationPlan:
    """At which contexts and batches a language model's generation is measured.

    Raises:
        RequestError: a number is not positive, or they do not rise.
    """
    declared = {} if keys.generation is None else msgspec.structs.asdict(keys.generation)
    return GenerationPlan(**{key: value for key, value in declared.items() if value is not None})


def parse_bytes(key: str, text: str) -> int:
    """A size in words, such as ``4GiB``.

    Raises:
        RequestError: it is none.
    """
    units = UNITS[Bounded.MEMORY]
    match = re.fullmatch(r"\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-z]+)\s*", text)
    if match is None or match["unit"] not in units:
        raise RequestError(f"{key} = {text!r} is no size", f"write for example '4GiB'; units are {', '.join(units)}")
    return int(float(match["number"]) * units[match["unit"]])


def require(value: str | None, key: str, what: str) -> str:
    """A value that must be there.

    Raises:
        RequestError: it is not.
    """
    if not value:
        raise RequestError(f"no {key} is named", f"give {key}: {what}")
    return value


def compose_requirements(keys: StudyFile) -> Requirements:
    """Tolerance, constraints and objective.

    Raises:
        RequestError: one of them cannot be read, or they contradict each other.
    """
    if keys.prices is not None and keys.price_per_hour is not None:
        raise RequestError("both prices and price_per_hour are given", "keep one of them")
    price = None if keys.prices is None else find_price(Path(keys.prices), keys.machine)
    return Requirements(
        tolerance=Tolerance.parse(require(keys.tolerance, "tolerance", "such as 'top1: 0.5pp'")),
        objective=compose_objective(keys.minimize, keys.maximize),
        constraints=tuple(Constraint.parse(text) for text in keys.constraints or ()),
        confidence=0.95 if keys.confidence is None else keys.confidence,
        price_per_hour=keys.price_per_hour if price is None else price.price_per_hour,
        currency="" if price is None else price.currency,
        grid_g_per_kwh=None if price is None else price.grid_g_per_kwh,
    )


def compose_objective(minimize: str | None, maximize: str | None) -> Objective:
    """The one objective of a request.

    Raises:
        RequestError: two are named, or one in the wrong direction.
    """
    if minimize is not None and maximize is not None:
        message = f"two objectives are named: minimize {minimize} and maximize {maximize}"
        raise RequestError(message, "keep one, and bound the other by a constraint")
    allowed = MINIMIZED if maximize is None else MAXIMIZED
    name = maximize or minimize or Objective.LATENCY
    chosen = choose("objective", (name,), Objective)[0]
    if chosen not in allowed:
        verb = "maximized" if chosen in MAXIMIZED else "minimized"
        raise RequestError(f"objective {name!r} can only be {verb}", f"use {verb.removesuffix('d')} = {name!r}")
    return chosen


def choose_repairs(names: tuple[str, ...] | None) -> tuple[Repair, ...]:
    """Repairs in the order of their enumeration; all where none are named, and none for ``none``.

    Raises:
        RequestError: a name is unknown; the hint has the nearest.
    """
    if names is None:
        return tuple(Repair)
    chosen = () if names in {(), (NONE,)} else choose("repair", names, Repair)
    return tuple(repair for repair in Repair if repair in chosen)


def choose(what: str, names: Iterable[str] | None, kind: type[Choice]) -> tuple[Choice, ...]:
    """Members of an enumeration by name.

    Raises:
        RequestError: a name is unknown; the hint has the nearest.
    """
    return tuple(kind(name) for name in choose_names(what, names, tuple(str(member) for member in kind)))


def choose_names(what: str, names: Iterable[str] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """Names out of those known; none where they are not given.

    Raises:
        RequestError: they are given, and there is none; or a name is unknown, and the hint has the nearest.
    """
    chosen = tuple(names or ())
    if names is not None and not chosen:
        raise RequestError(f"no {what} is named", f"name one or more of {', '.join(known)}, or leave it out")
    for name in chosen:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise RequestError(f"{what} {name!r} is unknown", hint)
    return chosen


def compose_source(key: str, section: DataSection | None, shared: PreprocessSection | None) -> DataSource | None:
    """A data source with its own preprocessing, or the study's.

    Raises:
        RequestError: the table has no path, or its preprocessing is contradictory.
    """
    if section is None:
        return None
    forms = "an .npz file, an image folder, a Parquet file, a file of texts or module:function"
    path = require(section.path, f"{key}.path", forms)
    declared = section.preprocess or shared
    preprocess = None if declared is None else compose_preprocess(declared)
    limit = None if key == "calibration" else section.items
    # Only the evaluation needs to know which texts belong together; for ranges each is an item of its own.
    apart = key != "evaluation"
    target = section.target or "target"
    return DataSource(path=path, preprocess=preprocess, limit=limit, target=target, apart=apart)


def compose_preprocess(section: PreprocessSection) -> Preprocess:
    """Declared preprocessing, with the keys that are set; a lone number stands for every channel."""
    set_keys = list_set(section)
    for key in ("mean", "std"):
        number = set_keys.get(key)
        if isinstance(number, int | float):
            set_keys[key] = (float(number),)
    if section.text is not None:
        set_keys["text"] = compose_text(section.text)
    if section.lengths is not None:
        set_keys["lengths"] = compose_lengths(section.lengths)
    return Preprocess(**set_keys)  # type: ignore[arg-type] # checked by the struct

"""The study file: TOML to a request, every mistake named with its key."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import get_args

import msgspec

from assay.core.decoding import Background, BoxForm, BoxUnit, ScoreKind
from assay.core.errors import RequestError
from assay.data.source import Channels, Layout, Resample
from assay.data.text_options import TokenRole


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table of the study file: unknown keys are errors."""


class TextSection(Section, frozen=True):
    """How texts become inputs: see ``assay.data.text_options.TextOptions`` for each key."""

    tokenizer: str | None = None
    column: str | None = None
    pair: str | None = None
    beside: str | tuple[str, ...] | None = None
    max_length: int | None = None
    truncate: bool | None = None
    stride: int | None = None
    classes: tuple[str, ...] | None = None
    inputs: dict[TokenRole, str] | None = None


class LengthsSection(Section, frozen=True):
    """How items of different lengths become batches: see ``assay.data.lengths.Lengths`` for each key."""

    buckets: tuple[int, ...] | None = None
    pad: dict[str, float] | None = None
    mask: str | None = None


class PreprocessSection(Section, frozen=True):
    """Declared preprocessing: see ``assay.data.source.Preprocess`` for each key."""

    input: str | None = None
    resize: int | tuple[int, int] | None = None
    resample: Resample | None = None
    crop: int | tuple[int, int] | None = None
    channels: Channels | None = None
    background: tuple[int, int, int] | None = None
    layout: Layout | None = None
    stored_layout: Layout | None = None
    scale: float | None = None
    mean: float | tuple[float, ...] | None = None
    std: float | tuple[float, ...] | None = None
    dtype: str | None = None
    text: TextSection | None = None
    lengths: LengthsSection | None = None


class DataSection(Section, frozen=True):
    """Where items come from."""

    path: str | None = None
    items: int | None = None
    target: str | None = None
    preprocess: PreprocessSection | None = None


class DecodingSection(Section, frozen=True):
    """What a detector's raw outputs hold: see ``assay.core.decoding.Decoding`` for each key."""

    classes: int | None = None
    size: tuple[int, int] | None = None
    strides: tuple[int, ...] | None = None
    centre: float | None = None
    boxes: BoxForm | None = None
    unit: BoxUnit | None = None
    scores: ScoreKind | None = None
    background: Background | None = None
    anchors: str | None = None
    variances: tuple[float, float] | None = None
    first_class: int | None = None
    least_score: float | None = None
    most_overlap: float | None = None
    candidates: int | None = None


class GenerationSection(Section, frozen=True):
    """How a language model's generation is measured: see ``assay.core.generation.GenerationPlan`` for each key."""

    contexts: tuple[int, ...] | None = None
    batches: tuple[int, ...] | None = None
    seconds: float | None = None


class StudyFile(Section, frozen=True):
    """A study file; flags of the command line override it."""

    model: str | None = None
    output: str | None = None
    title: str | None = None
    task: str | None = None
    decoder: str | None = None
    tolerance: str | None = None
    confidence: float | None = None
    minimize: str | None = None
    maximize: str | None = None
    constraints: tuple[str, ...] | None = None
    slices: tuple[str, ...] | None = None
    threshold: str | float | None = None
    tuning_items: int | None = None
    price_per_hour: float | None = None
    prices: str | None = None
    machine: str | None = None
    device: str | None = None
    runtimes: tuple[str, ...] | None = None
    build_for: tuple[str, ...] | None = None
    precisions: tuple[str, ...] | None = None
    ranges: tuple[str, ...] | None = None
    repairs: tuple[str, ...] | None = None
    batch: int | None = None
    threads: int | None = None
    latency_seconds: float | None = None
    trial_seconds: float | None = None
    trial_memory: str | None = None
    mixed_plans: int | None = None
    mixed_seconds: float | None = None
    generation: GenerationSection | None = None
    accept_unfit: bool | None = None
    accept_unresolvable: bool | None = None
    sequential: bool | None = None
    calibration: DataSection | None = None
    evaluation: DataSection | None = None
    production: DataSection | None = None
    preprocess: PreprocessSection | None = None
    decoding: DecodingSection | None = None


def read_study_file(path: Path) -> StudyFile:
    """Read a study file.

    Raises:
        RequestError: it is missing, not TOML, or a key or value is wrong, naming the key and the nearest one.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"cannot read the study file {path}: {error.strerror}", "`assay init` writes one") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} is not a text file in UTF-8", "`assay init` writes a study file") from error
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"{path} is not valid TOML: {error}", "mend that line") from error
    try:
        return msgspec.convert(content, StudyFile, strict=True)
    except msgspec.ValidationError as error:
        raise explain_mistake(path, str(error)) from error


def explain_mistake(path: Path | str, text: str) -> RequestError:
    """A validation error in our words: the key's path, and the nearest key for a typo."""
    where = re.search(r" - at `\$\.?(?P<path>[^`]*)`", text)
    place = where["path"] if where else ""
    unknown = re.search(r"unknown field `(?P<key>[^`]*)`", text)
    if unknown is None:
        return RequestError(f"{path}: key {place!r}: {text.split(' - at', maxsplit=1)[0].lower()}", "mend its value")
    key = unknown["key"]
    known = keys_at(place)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    full = f"{place}.{key}" if place else key
    hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"
    return RequestError(f"{path}: key {full!r} is unknown", hint)


def keys_at(place: str) -> tuple[str, ...]:
    """Keys that the table at a dotted path may have."""
    kind: type[msgspec.Struct] = StudyFile
    for part in filter(None, place.split(".")):
        field = next((f for f in msgspec.structs.fields(kind) if f.name == part), None)
        inner = [t for t in get_args(field.type) if isinstance(t, type)] if field else []
        found = next((t for t in inner if issubclass(t, msgspec.Struct)), None)
        if found is None:
            break
        kind = found
    return tuple(field.name for field in msgspec.structs.fields(kind))


def anchor(file: StudyFile, folder: Path) -> StudyFile:
    """The study file with its relative paths made relative to the folder it lies in."""

    def moved(path: str | None) -> str | None:
        is_function = path is not None and re.fullmatch(r"[\w.]+:\w+", path) is not None
        return path if path is None or is_function else str(folder / path)

    def prepared(keys: PreprocessSection | None) -> PreprocessSection | None:
        if keys is None or keys.text is None:
            return keys
        text = msgspec.structs.replace(keys.text, tokenizer=moved(keys.text.tokenizer))
        return msgspec.structs.replace(keys, text=text)

    def section(data: DataSection | None) -> DataSection | None:
        if data is None:
            return None
        return msgspec.structs.replace(data, path=moved(data.path), preprocess=prepared(data.preprocess))

    decoding = file.decoding
    return msgspec.structs.replace(
        file,
        decoding=None if decoding is None else msgspec.structs.replace(decoding, anchors=moved(decoding.anchors)),
        model=moved(file.model),
        output=moved(file.output),
        prices=moved(file.prices),
        device=moved(file.device),
        calibration=section(file.calibration),
        evaluation=section(file.evaluation),
        production=section(file.production),
        preprocess=prepared(file.preprocess),
    )


def override(file: StudyFile, flags: StudyFile) -> StudyFile:
    """The study file with every key that the flags set taken from them; data tables merge key by key."""
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(StudyFile):
        below, above = getattr(file, field.name), getattr(flags, field.name)
        if isinstance(below, DataSection) and isinstance(above, DataSection):
            values[field.name] = merge_data(below, above)
        else:
            values[field.name] = below if above is None else above
    if flags.minimize is not None or flags.maximize is not None:
        values |= {"minimize": flags.minimize, "maximize": flags.maximize}
    return msgspec.convert(values, StudyFile)


def merge_data(below: DataSection, above: DataSection) -> DataSection:
    """One data table over another."""
    names = [field.name for field in msgspec.structs.fields(DataSection)]
    set_above = {name: getattr(above, name) for name in names if getattr(above, name) is not None}
    return msgspec.structs.replace(below, **set_above)

"""From the keys of a study file to how texts become inputs and how items of different lengths become batches."""

from __future__ import annotations

import msgspec

from assay.core.errors import RequestError
from assay.data.lengths import Lengths
from assay.data.source import Preprocess
from assay.data.text_options import TextOptions
from assay.studies.config import LengthsSection, PreprocessSection, TextSection


def compose_text(section: TextSection) -> TextOptions:
    """How texts become inputs.

    Raises:
        RequestError: no tokenizer is named, or a value is impossible.
    """
    if not section.tokenizer:
        raise RequestError("preprocess.text names no tokenizer", "give tokenizer: the path of the tokenizer.json")
    keys = {name: value for name, value in list_set(section).items() if name not in {"beside", "inputs"}}
    beside = (section.beside,) if isinstance(section.beside, str) else section.beside or ()
    return TextOptions(beside=beside, inputs=tuple((section.inputs or {}).items()), **keys)  # type: ignore[arg-type] # checked by the struct


def compose_lengths(section: LengthsSection) -> Lengths:
    """How items of different lengths become batches.

    Raises:
        RequestError: a value is impossible.
    """
    return Lengths(section.buckets or (), tuple((section.pad or {}).items()), section.mask or "")


def list_set(section: msgspec.Struct) -> dict[str, object]:
    """The keys of a table that are set."""
    values = {field.name: getattr(section, field.name) for field in msgspec.structs.fields(type(section))}
    return {name: value for name, value in values.items() if value is not None}


def declare_preprocess(preprocess: Preprocess) -> PreprocessSection:
    """Preprocessing as the keys of a study file."""
    nested = {"text", "lengths"}
    names = [field.name for field in msgspec.structs.fields(PreprocessSection) if field.name not in nested]
    section = PreprocessSection(**{name: getattr(preprocess, name) or None for name in names})
    text, lengths = preprocess.text, preprocess.lengths
    if text is not None:
        keys = {
            name: getattr(text, name)
            for name in ("tokenizer", "column", "pair", "beside", "max_length", "truncate", "classes")
        }
        section = msgspec.structs.replace(section, text=TextSection(**keys, inputs=dict(text.inputs)))
    if lengths is not None:
        told = LengthsSection(lengths.buckets, dict(lengths.pad), lengths.mask)
        section = msgspec.structs.replace(section, lengths=told)
    return section

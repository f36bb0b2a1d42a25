"""A model in another form than ONNX, exported into the study's folder before the study begins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import msgspec

from assay.core.errors import ModelError, RequestError, StoreError
from assay.data.function import find_function
from assay.graph.export_torch import export_module, import_torch
from assay.graph.read_pt2 import read_program
from assay.studies.files import hash_file, make_folder, write_bytes
from assay.studies.progress import Progress
from assay.studies.request import StudyRequest

FUNCTION = re.compile(r"[\w.]+:\w+")
PROGRAM_SUFFIX = ".pt2"
GIVES = "it must give a torch.nn.Module and a tuple (or a mapping by argument) of example inputs, or an ExportedProgram"


class Exported(msgspec.Struct, frozen=True):
    """What an ONNX file was exported from.

    Attributes:
        source: SHA-256 of the program.
        torch: version that exported it.
        content: SHA-256 of the ONNX file.
    """

    source: str
    torch: str
    content: str


def ingest_model(request: StudyRequest, progress: Progress) -> StudyRequest:
    """The request with its model in ONNX: a ``.pt2`` file or ``module:function`` is exported into the study's folder.

    A program that was exported before, with the same torch, is not exported again.

    Raises:
        RequestError: torch is not installed, or the function gives no module.
        ModelError: torch cannot export the model, or the file is none that can be read safely.
        StoreError: the folder cannot be written.
    """
    text = str(request.model)
    is_function = FUNCTION.fullmatch(text) is not None and not request.model.exists()
    if not is_function and request.model.suffix.lower() != PROGRAM_SUFFIX:
        return request
    progress.start("exporting the PyTorch model", None)
    folder = make_folder(request.output)
    if is_function:
        model = export_function(text, folder / f"{text.rpartition(':')[2]}.onnx")
    else:
        model = export_program(request.model, folder / f"{request.model.stem}.onnx")
    progress.finish()
    return replace(request, model=model)


def export_program(source: Path, path: Path) -> Path:
    """Export a ``.pt2`` file, unless that was done before.

    Raises:
        RequestError: torch is not installed.
        ModelError: the file cannot be read safely, or not be exported.
        StoreError: the folder cannot be written.
    """
    if not source.is_file():
        what = "is no file" if source.exists() else "does not exist"
        raise ModelError(f"{source} {what}", "check the path of the model")
    torch = import_torch()
    note = path.with_suffix(".exported.json")
    wanted = Exported(hash_file(source), metadata.version("torch"), hash_known(path))
    if path.exists() and read_note(note) == wanted:
        return path
    export_module(read_program(torch, source), (), path)
    write_bytes(note, msgspec.json.encode(msgspec.structs.replace(wanted, content=hash_file(path))))
    return path


def read_note(note: Path) -> Exported:
    """What an earlier export noted; nothing where there was none."""
    try:
        return msgspec.json.decode(note.read_bytes(), type=Exported)
    except (OSError, msgspec.MsgspecError):
        return Exported("", "", "")


def hash_known(path: Path) -> str:
    """SHA-256 of a file; empty where it is not there."""
    try:
        return hash_file(path)
    except StoreError:
        return ""


def export_function(text: str, path: Path) -> Path:
    """Export what the user's function gives: a module with example inputs, or an exported program.

    Raises:
        RequestError: torch is not installed, or the function failed or gives something else.
        ModelError: torch cannot export it.
        StoreError: the folder cannot be written.
    """
    torch = import_torch()
    function = find_function(text, GIVES)
    try:
        given: object = function()
    except Exception as err:
        # The user's own code: whatever it raises is the reason.
        raise RequestError(f"{text}: {type(err).__name__}: {err}", "the function raised this") from err
    if isinstance(given, torch.export.ExportedProgram):
        return export_module(given, (), path)
    module, inputs = given if isinstance(given, tuple) and len(given) == 2 else (given, None)  # noqa: PLR2004 - a pair
    inputs = (inputs,) if isinstance(inputs, torch.Tensor) else inputs
    if not isinstance(module, torch.nn.Module) or not isinstance(inputs, tuple | list | Mapping) or not inputs:
        raise RequestError(f"{text} gives {describe(given)}", GIVES)
    return export_module(module, dict(inputs) if isinstance(inputs, Mapping) else tuple(inputs), path)


def describe(given: object) -> str:
    """What a function gave, by its types."""
    if isinstance(given, tuple):
        return f"({', '.join(type(part).__name__ for part in given)})"
    return f"a {type(given).__name__}"

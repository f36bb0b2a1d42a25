"""From an ONNX file to a built folder: which shapes are compiled, and how their code becomes a file."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from assay.backends.tvm.compilation import Compiled, compile_model, import_model
from assay.backends.tvm.database import find_database, open_database
from assay.backends.tvm.errors import mapped_errors
from assay.backends.tvm.machine import Machine
from assay.backends.tvm.settings import LIBRARY_SUFFIX, OBJECT_SUFFIX, Library
from assay.backends.tvm.vendor import load_compiler
from assay.core.errors import BuildFailed
from assay.core.target import Target
from assay.core.tensor import Signature

ARTIFACT = "model"
"""Name of the library in a built folder, before its suffix."""
LINKERS = ("g++", "gcc", "clang++", "clang", "c++", "cc")
CROSS_LINKERS = ("{0}-linux-gnu-g++", "{0}-linux-gnu-gcc", "{0}-linux-gnu-clang++")
LINKER_VARIABLE = "ASSAY_TVM_LINKER"
"""Environment variable with the compiler driver that links for another processor, such as ``aarch64-linux-gnu-g++``."""


def read_model(path: Path) -> onnx.ModelProto:
    """An ONNX file with all of its weights, checked.

    Raises:
        BuildFailed: it cannot be read, or is no valid model.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(path)
    except (OSError, ValueError, onnx.checker.ValidationError) as err:
        text = " ".join(str(err).split())
        raise BuildFailed(f"{path} is no model that TVM can import: {text}", "check it with onnx.checker") from err
    return model


def find_shapes(signature: Signature, target: Target) -> Mapping[str, tuple[int, ...]] | None:
    """Sizes of all inputs that calls are expected to have; None where they are not known.

    The target's own shapes come first; else an open first axis has the target's batch, and so has every axis of the
    same name.
    """
    given = {one.name: one.usual for one in target.shapes}
    batches = {spec.shape[0] for spec in signature.inputs if spec.shape and not isinstance(spec.shape[0], int)}
    found: dict[str, tuple[int, ...]] = {}
    for spec in signature.inputs:
        if spec.name in given:
            found[spec.name] = given[spec.name]
            continue
        if spec.shape is None:
            return None
        sizes = [
            size if isinstance(size, int) else target.batch if index == 0 or (size and size in batches) else None
            for index, size in enumerate(spec.shape)
        ]
        known = tuple(size for size in sizes if size is not None)
        if len(known) != len(sizes):
            return None
        found[spec.name] = known
    return found


def compile_file(path: Path, shapes: Mapping[str, tuple[int, ...]], machine: Machine, threads: int) -> Compiled:
    """Compile an ONNX file at fixed shapes, with the schedules that tuning found on this machine.

    Raises:
        BuildFailed: the file is no model, or TVM refuses it.
    """
    database = open_database(find_database(machine), machine)
    return compile_model(read_model(path), shapes, machine, threads, database.choose)


def check_operators(path: Path) -> None:
    """Refuse a model that TVM cannot import at all; its shapes need not be known.

    Raises:
        BuildFailed: TVM knows an operator not.
    """
    import_model(read_model(path), {})


def find_linker(machine: Machine, here: Machine) -> str:
    """The compiler driver that links for a machine; empty where there is none.

    Args:
        machine: to link for.
        here: this one.
    """
    named = os.environ.get(LINKER_VARIABLE, "")
    if named and machine.architecture != here.architecture:
        return named if shutil.which(named) else ""
    same = machine.architecture == here.architecture
    names = LINKERS if same else tuple(name.format(machine.architecture) for name in CROSS_LINKERS)
    return next((name for name in names if shutil.which(name)), "")


def write_library(compiled: Compiled, shapes: Mapping[str, tuple[int, ...]], into: Path, linker: str) -> Library:
    """Write compiled code into a folder: linked where there is a linker, else as an archive of object files.

    Raises:
        BuildFailed: TVM or the linker failed.
    """
    path = into / f"{ARTIFACT}{LIBRARY_SUFFIX if linker else OBJECT_SUFFIX}"
    support: Any = load_compiler("support")
    with mapped_errors(BuildFailed, f"{path} cannot be written", f"see what {linker or 'TVM'} says"):
        if linker:
            compiled.executable.export_library(str(path), fcompile=support.cc.cross_compiler(linker))
        else:
            compiled.executable.export_library(str(path), fcompile=pack_objects)
    return Library(path.name, tuple(shapes.values()), compiled.products, compiled.functions)


def pack_objects(path: str, files: Sequence[str], **_: object) -> None:
    """Write object files into an archive, as TVM would with the tools ``tar`` and ``gzip``."""
    with tarfile.open(path, "w") as archive:
        for file in files:
            archive.add(file, Path(file).name)


def explain_missing(machine: Machine) -> str:
    """Why an artifact has no linked library, and how it gets one."""
    names = " or ".join(name.format(machine.architecture) for name in CROSS_LINKERS[:1])
    return (
        f"no linker for {machine.triple} is here: install {names}, or name one in {LINKER_VARIABLE}, and build again; "
        f"or link the object files of {ARTIFACT}{OBJECT_SUFFIX} on the device"
    )

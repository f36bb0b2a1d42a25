"""Exports a PyTorch module to ONNX; torch is an extra and imported only here, when asked for."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.core.errors import ModelError, RequestError, StoreError

if TYPE_CHECKING:
    import torch

EXPORT_OPSET = 18
"""The opset that torch.onnx's own operator library is written in: nothing is converted afterwards."""


TRAINING = frozenset({"train", "training"})
"""Arguments of operators that are random, or learn, where they are true."""


def export_module(
    module: torch.nn.Module | torch.export.ExportedProgram,
    example_inputs: tuple[torch.Tensor, ...] | Mapping[str, torch.Tensor],
    path: Path,
    *,
    dynamic_batch: bool = True,
) -> Path:
    """Export a module, in evaluation mode, or an exported program as it is.

    Args:
        module: a module comes back in the mode it was in; an exported program keeps the dynamic axes it has.
        example_inputs: one tensor per positional input, or by the name of the argument; the first axis the items.
        path: the ``.onnx`` file to write; weights too large for it lie beside it in ``<name>.data``.
        dynamic_batch: let the first axis of every input that has axes vary.

    Returns:
        ``path``.

    Raises:
        RequestError: torch is not installed, or ``module`` is neither kind.
        ModelError: torch cannot export it, with torch's reason.
        StoreError: the file cannot be written.
    """
    path = Path(path)
    torch = import_torch()
    if not isinstance(module, torch.nn.Module | torch.export.ExportedProgram):
        message = f"a {type(module).__name__} is neither a torch.nn.Module nor an ExportedProgram"
        raise RequestError(message, "give the module itself, or what torch.export.export returned")
    if not isinstance(module, torch.nn.Module):
        check_mode(module)
    program = trace_module(torch, module, example_inputs, dynamic_batch=dynamic_batch)
    write_program(program, path)
    return path


def import_torch() -> Any:  # noqa: ANN401 torch is optional and has no types here
    """The torch package.

    Raises:
        RequestError: it is not installed, or too old to export.
    """
    try:
        import torch  # noqa: PLC0415 an extra
        import torch.onnx  # noqa: PLC0415 an extra
    except ImportError as err:
        message = f"exporting a PyTorch module needs torch: {err}"
        raise RequestError(message, "pip install 'assay-precision[torch]'") from err
    return torch


def check_mode(program: Any) -> None:  # noqa: ANN401 the same
    """Refuse a program that was traced while its module was in training mode.

    Raises:
        ModelError: naming the node that is random or learns.
    """
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        names = [argument.name for argument in schema.arguments] if schema is not None else []
        given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
        if any(given.get(name) is True for name in TRAINING):
            message = f"the program was exported in training mode: node {node.name!r} is random or learns"
            raise ModelError(message, "call module.eval() before torch.export.export")


@contextmanager
def quiet() -> Iterator[None]:
    """Without torch's remarks on itself: an export that fails raises."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def import_archive_reader(torch: Any) -> Any:  # noqa: ANN401 the same
    """The class that reads the records of a ``.pt2`` file as torch itself does.

    Raises:
        RequestError: this torch has none.
    """
    try:
        from torch.export.pt2_archive import PT2ArchiveReader  # noqa: PLC0415 an extra
    except ImportError as err:
        message = f"torch {torch.__version__} cannot read .pt2 files record by record"
        raise RequestError(message, "install torch 2.9 or newer: pip install 'assay-precision[torch]'") from err
    return PT2ArchiveReader


def trace_module(torch: Any, module: Any, example_inputs: Any, *, dynamic_batch: bool) -> Any:  # noqa: ANN401 the same
    """Torch's ONNX program of a module or exported program."""
    is_module = isinstance(module, torch.nn.Module)
    named = dict(example_inputs) if is_module and isinstance(example_inputs, Mapping) else {}
    placed = tuple(example_inputs) if is_module and not named else ()
    check_tensors(torch, {**dict(enumerate(placed)), **named})
    axes = {name: {0: "batch"} if dynamic_batch and tensor.ndim else {} for name, tensor in named.items()}
    dynamic = axes or tuple({0: "batch"} if dynamic_batch and tensor.ndim else {} for tensor in placed)
    training = [part for part in module.modules() if part.training] if is_module else []
    try:
        if is_module:
            module.eval()
        with quiet():
            return torch.onnx.export(
                module,
                placed,
                kwargs=named or None,
                dynamo=True,
                opset_version=EXPORT_OPSET,
                dynamic_shapes=dynamic if is_module else None,
                verbose=False,
            )
    except Exception as err:
        # Tracing runs the user's own code: whatever it raises is the reason why it cannot be exported.
        cause = err.__cause__ or err
        reason = str(cause).strip().partition("\n")[0] or type(cause).__name__
        message = f"torch cannot export {type(module).__name__}: {reason}"
        raise ModelError(message, "torch.export.export must trace the module: see the chained error") from err
    finally:
        for part in training:
            part.training = True


def check_tensors(torch: Any, inputs: Mapping[object, object]) -> None:  # noqa: ANN401 the same
    """Refuse example inputs that are no tensors.

    Raises:
        RequestError: naming the place or argument.
    """
    for name, value in inputs.items():
        if not isinstance(value, torch.Tensor):
            message = f"example input {name!r} is {type(value).__name__}, no tensor"
            raise RequestError(message, "give one tensor per input, with two or more items in the first axis")


def forget_sources(program: Any) -> None:  # noqa: ANN401 the same
    """Take out what torch notes of the source code: it names folders of whoever exported, and would change the hash."""
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    for function in program.model.functions.values():
        for node in function.all_nodes():
            node.metadata_props.clear()


def write_program(program: Any, path: Path) -> None:  # noqa: ANN401 the same
    """Write an ONNX program beside its place and move it there.

    Raises:
        StoreError: the folder cannot be written.
    """
    forget_sources(program)
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            program.save(str(scratch / path.name))
            for written in sorted(scratch.iterdir(), key=lambda file: file.name == path.name):
                os.replace(written, path.with_name(written.name))  # noqa: PTH105 the name of the atomic operation
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as err:
        message = f"cannot write {path}: {err.strerror or err}"
        raise StoreError(message, "check that the folder exists, is writable and has space") from err

"""The one place where the errors of the reference evaluator become Assay's."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no types
from onnx.checker import ValidationError
from onnx.reference.op_run import RuntimeContextError, RuntimeImplementationError, RuntimeTypeError

from assay.core.errors import BuildFailed, RunFailed

EVALUATOR_ERRORS: tuple[type[Exception], ...] = (
    ValidationError,
    DecodeError,
    RuntimeContextError,
    RuntimeImplementationError,
    RuntimeTypeError,
    NotImplementedError,
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the evaluator raises: its operators are plain Python and NumPy, so any of their errors is a failed operator."""


def to_build_error(error: Exception, model: Path) -> BuildFailed:
    """What building or opening raises."""
    text = " ".join(str(error).split())
    return BuildFailed(f"the reference evaluator cannot load {model}: {text}", "check the model with onnx.checker")


def to_run_error(error: Exception, model: Path) -> RunFailed:
    """What running raises."""
    text = " ".join(str(error).split())
    return RunFailed(
        f"the reference evaluator failed on {model}: {type(error).__name__}: {text}", "run another runtime"
    )

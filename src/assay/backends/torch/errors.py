"""The one place where torch's errors become Assay's."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no types
from onnx.checker import ValidationError

from assay.core.errors import BuildFailed, RunFailed

LOADING_ERRORS: tuple[type[Exception], ...] = (
    ValidationError, DecodeError, OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError,
)  # fmt: skip
"""What reading and rewriting a model raises."""
RUNNING_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError, MemoryError,
)  # fmt: skip
"""What torch and the functions of the operators raise; that memory ran out is a RuntimeError of torch's."""
LONGEST = 500


class NodeFailed(RuntimeError):
    """A node of the model failed.

    Args:
        node: its name and operator, in words.
        reason: in torch's words.
    """

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(reason)
        self.node = node


def describe(error: BaseException) -> str:
    """Torch's own words, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def to_build_error(error: Exception, model: Path) -> BuildFailed:
    """What building or opening raises."""
    return BuildFailed(f"torch cannot load {model}: {describe(error)}", "check the model with onnx.checker")


def to_run_error(error: Exception, node: str) -> RunFailed:
    """What running raises.

    Args:
        error: of torch.
        node: at which it came, or empty.
    """
    memory = "out of memory" in str(error).lower()
    hint = "take a smaller batch" if memory else "compare with the reference backend"
    return RunFailed(f"torch failed{f' at {node}' if node else ''}: {describe(error)}", hint)

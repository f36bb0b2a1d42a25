"""The one place where TVM's errors become Assay's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from assay.core.errors import BackendError

VENDOR_ERRORS = (
    RuntimeError,
    TypeError,
    ValueError,
    IndexError,
    KeyError,
    AttributeError,
    NotImplementedError,
    AssertionError,
    OSError,
    MemoryError,
)
"""What TVM raises: C++ exceptions arrive as RuntimeError and its heirs, its ONNX frontend raises the others."""

LONGEST_MESSAGE = 600
NOISE = re.compile(r"^(File \"|Traceback|Stack trace|\d+: |\s*\^+|$)")


def summarize_error(err: BaseException) -> str:
    """One line of what TVM said, without its source positions."""
    lines = [line.strip() for line in str(err).splitlines()]
    text = "; ".join(line for line in lines if not NOISE.match(line)) or type(err).__name__
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 3] + "..."


@contextmanager
def mapped_errors(kind: type[BackendError], failed: str, hint: str = "") -> Iterator[None]:
    """Turn what TVM raises inside the block into ``kind``.

    Args:
        kind: the error to raise instead.
        failed: what failed, naming the file or node; TVM's words follow it.
        hint: what to do about it.
    """
    try:
        yield
    except BackendError:
        raise
    except VENDOR_ERRORS as err:
        raise kind(f"{failed}: {summarize_error(err)}", hint) from err

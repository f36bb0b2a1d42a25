"""The error tree. Every message says what failed, on which node, file or value; the hint says what to do.

AssayError
├ InputError        exit 2   RequestError · ModelError · DataError
├ BackendError      exit 3   BackendUnavailable · UnsupportedPlan · BuildFailed · RunFailed
├ MeasurementError  exit 4   too few samples to resolve the tolerance, unstable clock
└ StoreError        exit 5

Only a BackendError makes a failed trial; everything else propagates to the user.
"""

from __future__ import annotations

from typing import ClassVar


class AssayError(Exception):
    """Root of what Assay raises on purpose.

    Args:
        message: what failed, naming the node, file, key or value.
        hint: what the user can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Message and hint as one text."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InputError(AssayError):
    """What the user gave cannot be used."""

    exit_code = 2


class RequestError(InputError):
    """A flag, a configuration key or a combination of them is wrong."""


class ModelError(InputError):
    """The model file cannot be read, or is not a valid model."""


class DataError(InputError):
    """The data cannot be read, or does not fit the model or the task."""


class BackendError(AssayError):
    """A runtime failed: the only error that makes a failed trial."""

    exit_code = 3


class BackendUnavailable(BackendError):
    """The runtime is not installed or the device is missing."""


class UnsupportedPlan(BackendError):
    """The runtime cannot realise this plan; the message is the reason."""


class BuildFailed(BackendError):
    """The runtime refused or failed to compile the model."""


class RunFailed(BackendError):
    """The runtime failed while running a built model."""


class MeasurementError(AssayError):
    """A measurement cannot support the statement asked of it."""

    exit_code = 4


class StoreError(AssayError):
    """The study folder cannot be read or written."""

    exit_code = 5

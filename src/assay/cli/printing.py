"""What several commands print the same way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from assay.studies.standard_output import send_standard_output

STDERR = 2


@contextmanager
def stdout_kept() -> Iterator[None]:
    """Send to standard error what libraries print on standard output of their own, past Python: a solver, a runtime."""
    with send_standard_output(STDERR):
        yield


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")

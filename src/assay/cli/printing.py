"""What several commands print the same way."""

from __future__ import annotations

import sys

import msgspec


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")

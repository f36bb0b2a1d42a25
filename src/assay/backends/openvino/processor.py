"""What the processor says of its byte products."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

EXACT_FLAGS = frozenset({"avx512_vnni", "avx_vnni"})
"""Flags of instructions that add u8 x s8 products in 32 bits."""

X86 = frozenset({"x86_64", "amd64", "i686", "x86"})


def adds_exactly(machine: str, description: str) -> bool:
    """Whether u8 x s8 products are added without saturation; older x86 adds pairs of them in 16 bits.

    Args:
        machine: architecture, as ``platform.machine()`` names it.
        description: text of ``/proc/cpuinfo``; where it names no unit, the worst is assumed.
    """
    return machine.lower() not in X86 or not EXACT_FLAGS.isdisjoint(description.split())


@cache
def is_exact_here() -> bool:
    """``adds_exactly`` for this machine."""
    try:
        description = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        description = ""
    return adds_exactly(platform.machine(), description)

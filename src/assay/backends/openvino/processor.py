"""What the processor says of its byte products."""

from __future__ import annotations

from functools import cache
from pathlib import Path

EXACT = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})
"""Flags of units that add byte products in 32 bits; older AVX2 and AVX-512 saturate pairs of them in 16 bits."""


@cache
def multiplies_bytes_exactly(source: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether u8 x s8 products are added without saturation; taken to be so where the system does not tell."""
    try:
        text = source.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    flags = {
        flag for line in text.splitlines() if line.lower().startswith(("flags", "features")) for flag in line.split()
    }
    return not flags or bool(flags & EXACT)

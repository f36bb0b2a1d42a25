"""A trap of OpenVINO's integer rewrite: a Concat whose signed codes become unsigned.

On CPUs whose convolutions take u8 alone, OpenVINO turns signed activations into unsigned ones with a shift. At a
Concat between convolutions it forgets the shift, and negative values are lost (measured with 2026.4 on a CPU with
VNNI and without AMX: 10 dB from the exact result instead of 35).
"""

from __future__ import annotations

from typing import Any


def find_lost_signs(compiled: Any) -> list[str]:  # noqa: ANN401 - the vendor's object has no types
    """Names of the Concat nodes that hand on unsigned codes; wrong where the graph's codes are signed."""
    found = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        notes = node.get_rt_info()
        if notes["layerType"].astype(str) == "Concatenation" and notes["outputPrecisions"].astype(str) == "u8":
            found.append(node.get_friendly_name())
    return found

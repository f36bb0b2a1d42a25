"""A trap of OpenVINO's integer rewrite: a Concat whose signed codes become unsigned.

On CPUs whose convolutions take u8 alone, OpenVINO turns signed activations into unsigned ones with a shift. Where codes
before or behind a Concat lie open in the graph it forgets the shift, and negative values are lost (measured with 2026.4
on a CPU with VNNI and without AMX: 4 to 14 dB from the exact result instead of 32 and more). ``fuse_pairs`` hides the
codes, and the same Concat is right; what it could not rewrite is found here.
"""

from __future__ import annotations

from typing import Any

from assay.backends.openvino.quantizers import find_behind_concats, touches_concat


def find_lost_signs(model: Any, compiled: Any) -> list[str]:  # noqa: ANN401 - the vendor's objects have no types
    """Names of the Concat nodes that hand on unsigned codes, where signed codes lie open around one.

    Args:
        model: as it was given to be compiled.
        compiled: made of it.
    """
    if not has_open_signs(model):
        return []
    found = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        notes = node.get_rt_info()
        if notes["layerType"].astype(str) == "Concatenation" and notes["outputPrecisions"].astype(str) == "u8":
            found.append(node.get_friendly_name())
    return found


def has_open_signs(model: Any) -> bool:  # noqa: ANN401 - as above
    """Whether signed codes of an activation, in the graph as i8, reach a Concat or come out of one."""
    behind = find_behind_concats(model)
    return any(
        node.get_type_name() == "Convert"
        and node.get_output_element_type(0).get_type_name() == "i8"
        and node.input_value(0).get_node().get_type_name() == "FakeQuantize"
        and touches_concat(node.input_value(0).get_node(), behind)
        for node in model.get_ordered_ops()
    )

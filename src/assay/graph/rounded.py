"""Remembers adaptively rounded weights: the plans of a study round the same layers over and over."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.core.tensor import Array
from assay.graph.scales import EncodedWeight

MOST_BYTES = 256 << 20
"""Of codes and scales that are kept; the ones used longest ago make room."""


class RoundedWeights:
    """Encoded weights by everything that their rounding depends on; never more than some bytes of them.

    Args:
        most_bytes: of codes and scales.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._known: OrderedDict[bytes, EncodedWeight] = OrderedDict()

    def find(self, key: bytes) -> EncodedWeight | None:
        """What was kept under a key; None where nothing was."""
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
        return found

    def keep(self, key: bytes, encoded: EncodedWeight) -> None:
        """Keep a weight."""
        self._known[key] = encoded
        self._bytes += count_bytes(encoded)
        while self._bytes > self._most and self._known:
            _, dropped = self._known.popitem(last=False)
            self._bytes -= count_bytes(dropped)


def count_bytes(encoded: EncodedWeight) -> int:
    """Bytes of a weight's codes and scales."""
    return encoded.codes.nbytes + encoded.scale.nbytes


def identify_rounding(
    node: ir.Node, arrays: tuple[Array | NDArray[np.float64], ...], encoded: EncodedWeight, largest_code: int
) -> bytes:
    """Digest of what a rounding depends on.

    Args:
        node: whose attributes say how its weight is read.
        arrays: the weight, the moments of the layer's input, and the floor of the scales.
        encoded: the weight rounded to nearest.
        largest_code: of the dialect.
    """
    digest = hashlib.blake2b(digest_size=32)
    attributes = sorted((name, str(attribute.value)) for name, attribute in node.attributes.items())
    digest.update(f"{node.op_type} {attributes} {largest_code} {encoded.axis} {encoded.block}".encode())
    for array in (*arrays, encoded.codes, encoded.scale):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()

"""Second moments of what a layer multiplies its weights with, and how its inputs are cut into such vectors."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class AutoPad(StrEnum):
    """How the border of a convolution is found (ONNX operator Conv, ``auto_pad``)."""

    EXPLICIT = "NOTSET"
    SAME_UPPER = "SAME_UPPER"
    SAME_LOWER = "SAME_LOWER"
    VALID = "VALID"


@dataclass(frozen=True, slots=True)
class Window:
    """The sliding window of a convolution; every tuple has one entry per spatial axis.

    Attributes:
        kernel: taps.
        strides: steps between output positions.
        dilations: steps between taps.
        pads: zeros before each axis, then zeros behind each (``2 * axes`` entries); read for ``EXPLICIT`` alone.
        auto_pad: where the border comes from.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: AutoPad = AutoPad.EXPLICIT

    def locate(self, axis: int, length: int) -> NDArray[np.int64]:
        """Input index that each tap reads at each output position of one axis; outside ``0..length-1`` lies padding.

        Args:
            axis: spatial axis, from 0.
            length: of the input along it.

        Returns:
            ``[positions, taps]``; no positions where the window does not fit.

        Source: ONNX operator Conv.
        """
        kernel, stride, dilation = self.kernel[axis], self.strides[axis], self.dilations[axis]
        reach = (kernel - 1) * dilation + 1
        if self.auto_pad in {AutoPad.SAME_UPPER, AutoPad.SAME_LOWER}:
            positions = -(-length // stride)
            spare = max(0, (positions - 1) * stride + reach - length)
            before = spare // 2 if self.auto_pad is AutoPad.SAME_UPPER else -(-spare // 2)
        else:
            explicit = self.auto_pad is AutoPad.EXPLICIT
            before = self.pads[axis] if explicit else 0
            behind = self.pads[len(self.kernel) + axis] if explicit else 0
            positions = max(0, (length + before + behind - reach) // stride + 1)
        return np.arange(positions)[:, None] * stride - before + np.arange(kernel) * dilation


@dataclass(frozen=True, slots=True)
class LayerInput:
    """What is observed for one layer: vectors of ``size`` values, one for every output position.

    Attributes:
        node: name of the layer's node.
        tensor: name of its input; axis 1 holds the channels of a convolution, the last axis those of a product.
        size: values that one output sums over, ``K``: input channels of a group times taps.
        groups: of the convolution, ``G``; 1 for a product.
        window: of the convolution, or None for a product.
    """

    node: str
    tensor: str
    size: int
    groups: int = 1
    window: Window | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of its moments."""
        return 8 * self.groups * self.size * (self.size + 1)


@dataclass(frozen=True, slots=True)
class LayerMoments:
    """Sums over the sampled input vectors of one layer; two of them merge by addition.

    Attributes:
        gram: ``[G, K, K] float64``, sum of ``x x^T``.
        total: ``[G, K] float64``, sum of ``x``.
        count: vectors that were summed.
    """

    gram: NDArray[np.float64]
    total: NDArray[np.float64]
    count: int

    @property
    def mean(self) -> NDArray[np.float64]:
        """``[G, K]``, mean vector.

        Raises:
            ZeroDivisionError: no vector was observed.
        """
        if not self.count:
            raise ZeroDivisionError("the mean of no vectors is not defined")
        return self.total / self.count

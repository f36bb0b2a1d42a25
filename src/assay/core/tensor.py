"""Tensors as a model's interface sees them, and the aliases for what flows through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Feeds = Mapping[str, Array]
"""Model inputs by name; the first axis is the item."""
Outputs = Mapping[str, Array]
"""Model outputs by name."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, element type and shape of a model input or output.

    Attributes:
        dtype: NumPy name of the element type (``float32``, ``int64``, ``bfloat16``).
        shape: an ``int`` for a fixed axis, a name for a dynamic one, ``None`` for an unnamed dynamic one;
            the whole shape is ``None`` where the model does not state its rank.
        rows: rows of the smallest table that an integer input looks things up in, such as the words that a model
            knows; None where it looks nothing up, or that is not known.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs of a model."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

"""What a model's signature says of its scores, before anything is run."""

from __future__ import annotations

from assay.core.tensor import Signature

FLOATS = ("float32", "float16", "float64", "bfloat16")


def list_widths(signature: Signature) -> list[int | str | None]:
    """Scores per item of every floating-point output ``[n, scores]``, with any trailing axes of size 1.

    A name or None where the signature leaves the number open.
    """
    shapes = (spec.shape for spec in signature.outputs if spec.dtype in FLOATS and spec.shape)
    return [shape[1] for shape in shapes if len(shape) > 1 and all(axis == 1 for axis in shape[2:])]

"""The shapes that the calls of a study give to a model's inputs, for runtimes that build for shapes."""

from __future__ import annotations

from collections.abc import Sequence

from assay.core.target import ShapeRange
from assay.core.tensor import Feeds, Signature, TensorSpec


def find_shapes(signature: Signature, calls: Sequence[Feeds], longest: Feeds, items: int) -> tuple[ShapeRange, ...]:
    """Range of every input; none where an input has no rank, or the data do not feed it.

    Axes that differ among the calls may be as small as 1: a length that is rare may be in none of them.

    Args:
        signature: of the model.
        calls: that latency is measured with; the first gives the usual shape.
        longest: feeds of the longest item.
        items: most items of a call while scoring.
    """
    inputs = signature.inputs
    if any(spec.shape is None or spec.name not in longest or spec.name not in calls[0] for spec in inputs):
        return ()
    return tuple(_find_range(spec, calls, longest, items) for spec in inputs)


def _find_range(spec: TensorSpec, calls: Sequence[Feeds], longest: Feeds, items: int) -> ShapeRange:
    """Range of one input."""
    shapes = [call[spec.name].shape for call in calls]
    single = longest[spec.name].shape
    axes = []
    for index, size in enumerate(spec.shape or ()):
        seen = {shape[index] for shape in shapes} | ({single[index]} if index else {single[0] * items})
        if isinstance(size, int):
            axes.append((size, size, size))
        else:
            axes.append((1 if len(seen) > 1 or not index else min(seen), shapes[0][index], max(seen)))
    least, usual, most = zip(*axes, strict=True) if axes else ((), (), ())
    return ShapeRange(spec.name, least, usual, most)

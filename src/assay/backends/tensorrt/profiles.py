"""Optimisation profiles: the shapes that an engine takes, from those of the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assay.core.errors import BuildFailed
from assay.core.target import ShapeRange, Target
from assay.core.tensor import Signature, TensorSpec

MOST_ITEMS = 32
"""Largest batch of an engine where the study does not say."""
LENGTHS = (1, 128, 512)
"""Least, usual and largest size of an open axis that is not the first, where the study does not say."""


def plan_shapes(signature: Signature, target: Target) -> tuple[ShapeRange, ...]:
    """The range of shapes of every input.

    Args:
        signature: of the model.
        target: with the shapes that calls will have, as far as they are known; and the batch.

    Raises:
        BuildFailed: an input has no known rank, or the shapes of the target do not fit it; names it.
    """
    given = {one.name: one for one in target.shapes}
    return tuple(_plan_shape(spec, given, target.batch) for spec in signature.inputs)


def _plan_shape(spec: TensorSpec, given: Mapping[str, ShapeRange], batch: int) -> ShapeRange:
    """The range of one input: what is given, or what is usual for open axes."""
    if spec.shape is None:
        raise BuildFailed(f"input {spec.name!r} has no rank, which an engine must know", "export it with its shape")
    known = given.get(spec.name)
    if known is None:
        axes = [_guess_axis(index, size, batch) for index, size in enumerate(spec.shape)]
        least, usual, most = zip(*axes, strict=True) if axes else ((), (), ())
        return ShapeRange(spec.name, least, usual, most)
    if not _fits(spec, known):
        message = f"input {spec.name!r} has the shape {list(spec.shape)}, which {list(known.least)} to"
        raise BuildFailed(f"{message} {list(known.most)} do not fit", "build for shapes of the model")
    return known


def _guess_axis(index: int, size: int | str | None, batch: int) -> tuple[int, int, int]:
    """Least, usual and largest size of one axis."""
    if isinstance(size, int):
        return size, size, size
    return LENGTHS if index else (1, batch, max(batch, MOST_ITEMS))


def _fits(spec: TensorSpec, known: ShapeRange) -> bool:
    """Whether ranges have the input's rank and its fixed sizes, in ascending order."""
    shape = spec.shape or ()
    triples = (known.least, known.usual, known.most)
    if any(len(sizes) != len(shape) for sizes in triples):
        return False
    return all(
        least <= usual <= most and (not isinstance(size, int) or least == size == most)
        for size, least, usual, most in zip(shape, *triples, strict=True)
    )


def add_profile(builder: Any, config: Any, network: Any, ranges: Sequence[ShapeRange]) -> None:  # noqa: ANN401 - the vendor's objects have no types
    """Tell the builder the ranges of all inputs with open axes.

    Raises:
        BuildFailed: an input holds a shape, whose values would have to be known.
    """
    known = {one.name: one for one in ranges}
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        value = network.get_input(index)
        if value.is_shape_tensor:
            message = f"input {value.name!r} says the shape of something, so an engine must know its values"
            raise BuildFailed(message, "export the model with that shape as a constant")
        one = known[value.name]
        profile.set_shape(value.name, one.least, one.usual, one.most)
    config.add_optimization_profile(profile)


def explain_outside(ranges: Sequence[ShapeRange], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Which input lies outside of what the engine was built for; empty where none does."""
    for one in ranges:
        shape = shapes[one.name]
        if any(not least <= size <= most for least, size, most in zip(one.least, shape, one.most, strict=True)):
            bounds = f"{list(one.least)} to {list(one.most)}"
            return f"input {one.name!r} has the shape {list(shape)}, the engine takes {bounds}"
    return ""

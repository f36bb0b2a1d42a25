"""Operators of ONNX that move, choose and make elements, in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from assay.backends.torch.operators import DTYPES, Host, Operator, Table, Tensor, simple, to_tensor


def reshape(x: Tensor, shape: Host, *, allowzero: int = 0) -> Tensor:
    """Reshape: 0 keeps an axis, unless ``allowzero``."""
    sizes = [int(size) for size in shape]
    if not allowzero:
        sizes = [x.shape[index] if size == 0 else size for index, size in enumerate(sizes)]
    return x.reshape(sizes)


def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """Flatten to two axes."""
    at = axis + x.dim() if axis < 0 else axis
    rows = 1
    for size in x.shape[:at]:
        rows *= size
    return x.reshape(rows, -1) if x.numel() else x.reshape(rows, x.numel() // max(rows, 1))


def squeeze(x: Tensor, given: Host | None = None, *, axes: Host | None = None) -> Tensor:
    """Squeeze, of all axes of size 1 where none are named."""
    chosen = given if given is not None else axes
    return x.squeeze() if chosen is None else x.squeeze(tuple(int(axis) for axis in chosen))


def unsqueeze(x: Tensor, given: Host | None = None, *, axes: Host = ()) -> Tensor:
    """Unsqueeze; axes are of the result."""
    chosen = given if given is not None else axes
    rank = x.dim() + len(chosen)
    for axis in sorted(int(axis) % rank for axis in chosen):
        x = x.unsqueeze(axis)
    return x


def transpose(x: Tensor, *, perm: Host | None = None) -> Tensor:
    """Transpose; reverses the axes where no order is given."""
    return x.permute(tuple(perm) if perm is not None else tuple(reversed(range(x.dim()))))


def concatenate(*inputs: Tensor, axis: int) -> Tensor:
    """Concat."""
    return torch.cat(inputs, axis)


def split(
    x: Tensor,
    given: Host | None = None,
    *,
    axis: int = 0,
    split: Host | None = None,
    num_outputs: int = 0,
    outputs: int,
) -> tuple[Tensor, ...]:
    """Split by sizes, or evenly with a smaller last part."""
    sizes = given if given is not None else split
    if sizes is None:
        count = num_outputs or outputs
        part = -(-x.shape[axis] // count)
        sizes = tuple(max(0, min(part, x.shape[axis] - index * part)) for index in range(count))
    return tuple(torch.split(x, [int(size) for size in sizes], axis))


def cut(
    x: Tensor,
    starts: Host | None = None,
    ends: Host | None = None,
    axes: Host | None = None,
    steps: Host | None = None,
    **older: Host,
) -> Tensor:
    """Slice, by inputs or, before operator set 10, by attributes."""
    starts = starts if starts is not None else older["starts"]
    ends = ends if ends is not None else older["ends"]
    axes = axes if axes is not None else older.get("axes", tuple(range(len(starts))))
    for index, axis in enumerate(axes):
        step = int(steps[index]) if steps is not None else 1
        x = _cut_axis(x, int(axis), int(starts[index]), int(ends[index]), step)
    return x


def _cut_axis(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    """One axis, with Python's rules for what lies outside."""
    first, last, stride = slice(start, end, step).indices(x.shape[axis])
    length = len(range(first, last, stride))
    if stride == 1 or not length:
        return torch.narrow(x, axis, first if length else 0, length)
    return torch.index_select(x, axis, torch.arange(first, last, stride, device=x.device))


def gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """Gather; negative indices count from the end."""
    axis = axis % x.dim()
    flat = indices.reshape(-1).long()
    flat = torch.where(flat < 0, flat + x.shape[axis], flat)
    return torch.index_select(x, axis, flat).reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """GatherElements."""
    wrapped = torch.where(indices < 0, indices + x.shape[axis], indices).long()
    return torch.gather(x, axis, wrapped)


def gather_nd(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    """GatherND."""
    depth = indices.shape[-1]
    lead = tuple(indices.shape[:batch_dims])
    flat_x = x.reshape((-1, *x.shape[batch_dims:])) if batch_dims else x.unsqueeze(0)
    flat_i = indices.reshape((flat_x.shape[0], -1, depth)).long()
    batch = torch.arange(flat_x.shape[0], device=x.device).unsqueeze(1).expand(flat_i.shape[:2])
    found = flat_x[(batch, *flat_i.unbind(-1))]
    return found.reshape((*lead, *indices.shape[batch_dims:-1], *x.shape[batch_dims + depth :]))


REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def scatter_elements(x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none") -> Tensor:
    """ScatterElements."""
    wrapped = torch.where(indices < 0, indices + x.shape[axis], indices).long()
    if reduction == "none":
        return x.scatter(axis, wrapped, updates)
    return x.scatter_reduce(axis, wrapped, updates, REDUCTIONS[reduction])


def scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    """ScatterND."""
    depth = indices.shape[-1]
    places = tuple(part.long() for part in indices.reshape(-1, depth).unbind(-1))
    values = updates.reshape((-1, *x.shape[depth:]))
    if reduction in {"none", "add"}:
        return x.index_put(places, values, accumulate=reduction == "add")
    rows = torch.arange(int(np.prod(x.shape[:depth])), device=x.device).reshape(x.shape[:depth])[places]
    flat, added = x.reshape(-1, int(np.prod(x.shape[depth:]))), values.reshape(len(rows), -1)
    spread = rows.unsqueeze(1).expand(added.shape)
    return flat.scatter_reduce(0, spread, added, REDUCTIONS[reduction]).reshape(x.shape)


def expand(x: Tensor, shape: Host) -> Tensor:
    """Expand: both ways, as broadcasting does."""
    return x.expand(torch.broadcast_shapes(x.shape, tuple(int(size) for size in shape)))


def tile(x: Tensor, repeats: Host) -> Tensor:
    """Tile."""
    return x.repeat(tuple(int(count) for count in repeats))


def pad(
    x: Tensor,
    given: Host | None = None,
    value: Tensor | None = None,
    axes: Host | None = None,
    *,
    mode: str = "constant",
    **older: Any,  # noqa: ANN401 - pads and value, before operator set 11
) -> Tensor:
    """Pad; ``wrap`` and the others as torch has them."""
    sizes = [int(size) for size in (given if given is not None else older["pads"])]
    chosen = [int(axis) % x.dim() for axis in axes] if axes is not None else list(range(x.dim()))
    pairs = [(0, 0)] * x.dim()
    for index, axis in enumerate(chosen):
        pairs[axis] = (sizes[index], sizes[index + len(chosen)])
    if mode == "constant":
        flat = [size for pair in reversed(pairs) for size in pair]
        fill = older.get("value", 0.0) if value is None else value
        return pad_constant(x, flat, fill)
    for axis, (before, after) in enumerate(pairs):
        x = _pad_axis(x, axis, before, after, mode)
    return x


def pad_constant(x: Tensor, flat: list[int], fill: Any) -> Tensor:  # noqa: ANN401 - a tensor or a number
    """Pad with a number that may be a tensor: ``flat`` begins with the last axis, as torch has it."""
    if not torch.is_tensor(fill):
        return functional.pad(x, flat, value=fill)
    inside = functional.pad(torch.ones_like(x, dtype=torch.bool), flat, value=False)
    return torch.where(inside, functional.pad(x, flat), fill.reshape(()).to(x.dtype))


def _pad_axis(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """One axis by repeating what is there."""
    if not before and not after:
        return x
    size = x.shape[axis]
    places = torch.arange(-before, size + after, device=x.device)
    if mode == "edge":
        places = places.clamp(0, size - 1)
    elif mode == "wrap":
        places = places.remainder(size)
    else:
        places = places.abs()
        places = torch.where(places >= size, 2 * (size - 1) - places, places)
    return torch.index_select(x, axis, places)


def fill_shape(shape: Host, *, value: tuple[float, str] = (0.0, "float32")) -> Tensor:
    """ConstantOfShape; its value as a number and a name of torch's type."""
    number, kind = value
    return torch.full(tuple(int(size) for size in shape), number, dtype=getattr(torch, kind))


def count(start: Host, limit: Host, delta: Host, *, like: Tensor) -> Tensor:
    """Range, in the type of ``like``."""
    return torch.arange(start[0], limit[0], delta[0], dtype=like.dtype, device=like.device)


def count_range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """Range of scalars."""
    return count((start.item(),), (limit.item(),), (delta.item(),), like=start)


def one_hot(indices: Tensor, depth: Host, values: Tensor, *, axis: int = -1) -> Tensor:
    """OneHot; indices outside have no place."""
    size = int(depth[0])
    wrapped = torch.where(indices < 0, indices + size, indices).long().unsqueeze(-1)
    places = torch.arange(size, device=indices.device)
    found = torch.where(wrapped == places, values[1], values[0])
    return torch.movedim(found, -1, axis)


def top(
    x: Tensor,
    k: Host | None = None,
    *,
    axis: int = -1,
    largest: int = 1,
    sorted: int = 1,  # noqa: A002 - as ONNX spells it
    **older: int,
) -> tuple[Tensor, Tensor]:
    """TopK; equal values in the order of their places, as the specification asks."""
    del sorted  # always, which is allowed
    amount = int(k[0]) if k is not None else older["k"]
    values, places = torch.sort(x, dim=axis, descending=bool(largest), stable=True)
    return values.narrow(axis, 0, amount), places.narrow(axis, 0, amount)


def keep_triangle(x: Tensor, k: Host | None = None, *, upper: int = 1) -> Tensor:
    """Trilu."""
    diagonal = int(k[0]) if k else 0
    return torch.triu(x, diagonal) if upper else torch.tril(x, diagonal)


def cast(x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:
    """Cast; from floats to integers towards zero."""
    del saturate, round_mode  # of 8-bit floats
    return x.to(DTYPES[to])


def make_constant(**given: Any) -> Tensor:  # noqa: ANN401 - one of the forms of an attribute
    """Constant in any of its forms."""
    (form, value), *_ = given.items()
    if form == "value":
        return to_tensor(value)
    return torch.tensor(value, dtype=torch.float32 if "float" in form else torch.int64)


def make_eye(x: Tensor, *, dtype: int = 0, k: int = 0) -> Tensor:
    """EyeLike."""
    rows, columns = x.shape
    kind = DTYPES[dtype] if dtype else x.dtype
    places = torch.arange(columns, device=x.device) - torch.arange(rows, device=x.device).unsqueeze(1)
    return (places == k).to(kind)


def spread_depth(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """DepthToSpace."""
    n, c, h, w = x.shape
    depth = c // blocksize**2
    if mode == "DCR":
        parts = x.reshape(n, blocksize, blocksize, depth, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, depth, blocksize, blocksize, h, w).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, depth, h * blocksize, w * blocksize)


def stack_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """SpaceToDepth."""
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // blocksize, blocksize, w // blocksize, blocksize)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return parts.permute(*order).reshape(n, c * blocksize**2, h // blocksize, w // blocksize)


def reverse_sequences(x: Tensor, lengths: Tensor, *, batch_axis: int = 1, time_axis: int = 0) -> Tensor:
    """ReverseSequence."""
    turned = x.movedim((batch_axis, time_axis), (0, 1))
    steps = torch.arange(turned.shape[1], device=x.device).unsqueeze(0)
    ends = lengths.unsqueeze(1)
    places = torch.where(steps < ends, ends - 1 - steps, steps)
    rows = torch.arange(turned.shape[0], device=x.device).unsqueeze(1)
    return turned[rows, places].movedim((0, 1), (batch_axis, time_axis))


def compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    """Compress."""
    flat = x.reshape(-1) if axis is None else x
    return torch.index_select(flat, axis or 0, torch.nonzero(condition).reshape(-1))


def measure_shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    """Shape, on the CPU."""
    return torch.tensor(tuple(x.shape)[start:end], dtype=torch.int64)


LAYOUT: Table = {
    "Identity": simple(lambda x: x),
    "Dropout": simple(lambda x, *_, **__: (x, torch.ones_like(x, dtype=torch.bool))),
    "Shape": simple(measure_shape),
    "Size": simple(lambda x: torch.tensor(x.numel(), dtype=torch.int64)),
    "Reshape": simple(reshape, 1),
    "Flatten": simple(flatten),
    "Squeeze": simple(squeeze, 1),
    "Unsqueeze": simple(unsqueeze, 1),
    "Transpose": simple(transpose),
    "Concat": simple(concatenate),
    "Split": Operator(split, frozenset({1}), counted=True),
    "Slice": simple(cut, 1, 2, 3, 4),
    "Gather": simple(gather),
    "GatherElements": simple(gather_elements),
    "GatherND": simple(gather_nd),
    "Scatter": simple(scatter_elements),
    "ScatterElements": simple(scatter_elements),
    "ScatterND": simple(scatter_nd),
    "Expand": simple(expand, 1),
    "Tile": simple(tile, 1),
    "Pad": simple(pad, 1, 3),
    "ConstantOfShape": simple(fill_shape, 0),
    "Constant": simple(make_constant),
    "Range": Operator(count_range, loose=True),
    "OneHot": simple(one_hot, 1),
    "NonZero": Operator(lambda x: torch.nonzero(x).t(), loose=True),
    "Compress": Operator(compress, loose=True),
    "TopK": simple(top, 1),
    "Trilu": simple(keep_triangle, 1),
    "Cast": simple(cast),
    "CastLike": simple(lambda x, like, **_: x.to(like.dtype)),
    "EyeLike": simple(make_eye),
    "DepthToSpace": simple(spread_depth),
    "SpaceToDepth": simple(stack_space),
    "ReverseSequence": simple(reverse_sequences),
}
"""Operator -> its function; source: ONNX operator specifications."""

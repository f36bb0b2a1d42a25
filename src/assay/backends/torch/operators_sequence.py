"""Recurrent layers, resizing and choice of boxes: operators of ONNX that are small programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from assay.backends.torch.operators import Host, Operator, Table, Tensor, simple

Bound = Any
"""What a step of a recurrent layer keeps of its direction: functions and tensors."""
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Relu": torch.relu,
}


def _directions(direction: str) -> tuple[bool, ...]:
    """Whether each direction of a layer goes backwards."""
    return {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction]


def _pick(activations: Host | None, standard: tuple[str, ...], index: int) -> list[Callable[[Tensor], Tensor]]:
    """Activations of one direction."""
    names = [str(name) for name in activations] if activations else [*standard, *standard]
    return [ACTIVATIONS[name] for name in names[index * len(standard) : (index + 1) * len(standard)]]


def _run_layer(
    x: Tensor,
    state: list[Tensor],
    step: Callable[[Tensor, list[Tensor]], list[Tensor]],
    lengths: Tensor | None,
    *,
    backwards: bool,
) -> tuple[Tensor, list[Tensor]]:
    """One direction over ``x [T, B, I]``: all hidden states ``[T, B, H]``, and the last ones."""
    outputs: list[Tensor] = []
    for index in reversed(range(x.shape[0])) if backwards else range(x.shape[0]):
        fresh = step(x[index], state)
        if lengths is not None:
            inside = (lengths > index).unsqueeze(1)
            outputs.append(torch.where(inside, fresh[0], torch.zeros_like(fresh[0])))
            state = [torch.where(inside, new, old) for new, old in zip(fresh, state, strict=True)]
        else:
            outputs.append(fresh[0])
            state = fresh
    return torch.stack(outputs[::-1] if backwards else outputs), state


def _start(given: Tensor | None, index: int, x: Tensor, hidden: int) -> Tensor:
    return torch.zeros((x.shape[1], hidden), dtype=x.dtype, device=x.device) if given is None else given[index]


def _split_bias(b: Tensor | None, index: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    if b is None:
        zero = torch.zeros(width, dtype=like.dtype, device=like.device)
        return zero, zero
    return b[index][:width], b[index][width:]


def run_lstm(  # noqa: PLR0913, PLR0917 - the inputs and attributes of the operator
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    hidden: Tensor | None = None,
    cell: Tensor | None = None,
    peepholes: Tensor | None = None,
    *,
    hidden_size: int,
    direction: str = "forward",
    activations: Host | None = None,
    layout: int = 0,
    input_forget: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """LSTM; gates in the order input, output, forget, cell."""
    x = x.transpose(0, 1) if layout else x
    found: list[tuple[Tensor, list[Tensor]]] = []
    for index, backwards in enumerate(_directions(direction)):
        f, g, h = _pick(activations, ("Sigmoid", "Tanh", "Tanh"), index)
        wb, rb = _split_bias(b, index, 4 * hidden_size, x)
        peep = (0.0, 0.0, 0.0) if peepholes is None else peepholes[index].split(hidden_size)

        def step(
            value: Tensor, state: list[Tensor], k: int = index, p: Bound = peep, a: Bound = (f, g, h, wb, rb)
        ) -> list[Tensor]:
            gates = value @ w[k].t() + state[0] @ r[k].t() + a[3] + a[4]
            i, o, forget, c = gates.split(hidden_size, 1)
            i = a[0](i + p[0] * state[1])
            forget = 1 - i if input_forget else a[0](forget + p[2] * state[1])
            fresh = forget * state[1] + i * a[1](c)
            return [a[0](o + p[1] * fresh) * a[2](fresh), fresh]

        begin = [_start(hidden, index, x, hidden_size), _start(cell, index, x, hidden_size)]
        found.append(_run_layer(x, begin, step, lengths, backwards=backwards))
    return _join(found, layout)


def run_gru(  # noqa: PLR0913 - as above
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    hidden: Tensor | None = None,
    *,
    hidden_size: int,
    direction: str = "forward",
    activations: Host | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Tensor, Tensor]:
    """GRU; gates in the order update, reset, hidden."""
    x = x.transpose(0, 1) if layout else x
    found: list[tuple[Tensor, list[Tensor]]] = []
    size = hidden_size
    for index, backwards in enumerate(_directions(direction)):
        f, g = _pick(activations, ("Sigmoid", "Tanh"), index)
        wb, rb = _split_bias(b, index, 3 * size, x)

        def step(value: Tensor, state: list[Tensor], k: int = index, a: Bound = (f, g, wb, rb)) -> list[Tensor]:
            left = value @ w[k].t() + a[2]
            right = state[0] @ r[k][: 2 * size].t() + a[3][: 2 * size]
            update = a[0](left[:, :size] + right[:, :size])
            reset = a[0](left[:, size : 2 * size] + right[:, size:])
            last, shift = r[k][2 * size :].t(), a[3][2 * size :]
            inner = reset * (state[0] @ last + shift) if linear_before_reset else (reset * state[0]) @ last + shift
            return [(1 - update) * a[1](left[:, 2 * size :] + inner) + update * state[0]]

        found.append(_run_layer(x, [_start(hidden, index, x, size)], step, lengths, backwards=backwards))
    joined = _join(found, layout)
    return joined[0], joined[1]


def run_rnn(  # noqa: PLR0913 - as above
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    hidden: Tensor | None = None,
    *,
    hidden_size: int,
    direction: str = "forward",
    activations: Host | None = None,
    layout: int = 0,
) -> tuple[Tensor, Tensor]:
    """RNN."""
    x = x.transpose(0, 1) if layout else x
    found: list[tuple[Tensor, list[Tensor]]] = []
    for index, backwards in enumerate(_directions(direction)):
        (f,) = _pick(activations, ("Tanh",), index)
        wb, rb = _split_bias(b, index, hidden_size, x)

        def step(value: Tensor, state: list[Tensor], k: int = index, a: Bound = (f, wb, rb)) -> list[Tensor]:
            return [a[0](value @ w[k].t() + state[0] @ r[k].t() + a[1] + a[2])]

        found.append(_run_layer(x, [_start(hidden, index, x, hidden_size)], step, lengths, backwards=backwards))
    joined = _join(found, layout)
    return joined[0], joined[1]


def _join(found: list[tuple[Tensor, list[Tensor]]], layout: int) -> tuple[Tensor, ...]:
    """``Y [T, D, B, H]`` and the last states ``[D, B, H]``; batch first where ``layout`` is 1."""
    y = torch.stack([outputs for outputs, _ in found], 1)
    states = [torch.stack(parts) for parts in zip(*(state for _, state in found), strict=True)]
    if layout:
        return (y.permute(2, 0, 1, 3), *(state.transpose(0, 1) for state in states))
    return (y, *states)


def resize(  # noqa: PLR0913 - as above
    x: Tensor,
    roi: Host | None = None,
    scales: Host | None = None,
    sizes: Host | None = None,
    *,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    antialias: int = 0,
    axes: Host | None = None,
    keep_aspect_ratio_policy: str = "stretch",
) -> Tensor:
    """Resize, axis by axis: each is a product with a matrix of weights, or a choice of places."""
    if antialias or coordinate_transformation_mode == "tf_crop_and_resize":
        raise RuntimeError(f"Resize with antialias {antialias}, {coordinate_transformation_mode} has no form here")
    del roi, extrapolation_value
    chosen = [int(axis) % x.dim() for axis in axes] if axes is not None else list(range(x.dim()))
    before = [x.shape[axis] for axis in chosen]
    if sizes:
        factors = [int(size) / old for size, old in zip(sizes, before, strict=True)]
        if keep_aspect_ratio_policy != "stretch":
            factor = min(factors) if keep_aspect_ratio_policy == "not_larger" else max(factors)
            factors, after = [factor] * len(factors), [round(factor * old) for old in before]
        else:
            after = [int(size) for size in sizes]
    else:
        factors = [float(scale) for scale in scales or ()]
        after = [int(np.floor(old * factor)) for old, factor in zip(before, factors, strict=True)]
    options = (mode, coordinate_transformation_mode, nearest_mode, cubic_coeff_a, bool(exclude_outside))
    for axis, factor, new in zip(chosen, factors, after, strict=True):
        if factor != 1 or new != x.shape[axis]:
            x = _resize_axis(x, axis, new, factor, options)
    return x


def _resize_axis(x: Tensor, axis: int, new: int, factor: float, options: tuple[str, str, str, float, bool]) -> Tensor:
    mode, coordinates, nearest, cubic, exclude = options
    places = _find_places(x.shape[axis], new, factor, coordinates)
    if mode == "nearest":
        rounding: Any = {
            "round_prefer_floor": lambda p: np.ceil(p - 0.5),
            "round_prefer_ceil": lambda p: np.floor(p + 0.5),
            "floor": np.floor,
            "ceil": np.ceil,
        }[nearest]
        chosen = np.clip(rounding(places), 0, x.shape[axis] - 1).astype(np.int64).tolist()
        return torch.index_select(x, axis, torch.tensor(chosen, device=x.device))
    weights = _weigh(places, x.shape[axis], mode, cubic, exclude=exclude)
    matrix = torch.tensor(weights.tolist(), dtype=x.dtype if x.is_floating_point() else torch.float32, device=x.device)
    moved = x.movedim(axis, -1).to(matrix.dtype)
    return torch.matmul(moved, matrix.t()).to(x.dtype).movedim(-1, axis)


def _find_places(size: int, new: int, factor: float, coordinates: str) -> np.ndarray:
    """Where in the input each element of the result lies."""
    steps = np.arange(new, dtype=np.float64)
    if coordinates == "align_corners":
        return steps * (size - 1) / (factor * size - 1) if factor * size > 1 else steps * 0
    if coordinates == "asymmetric":
        return steps / factor
    if coordinates == "pytorch_half_pixel" and new == 1:
        return steps * 0
    if coordinates == "half_pixel_symmetric":
        return size / 2 * (1 - new / (factor * size)) + (steps + 0.5) / factor - 0.5
    return (steps + 0.5) / factor - 0.5


def _weigh(places: np.ndarray, size: int, mode: str, cubic: float, *, exclude: bool) -> np.ndarray:
    """``[new, size]`` weights of linear or cubic interpolation."""
    reach = (0, 1) if mode == "linear" else (-1, 0, 1, 2)
    floor = np.floor(places).astype(np.int64)
    part = places - floor
    weights = np.zeros((len(places), size))
    for offset in reach:
        distance = np.abs(part - offset)
        share = 1 - distance if mode == "linear" else _cubic(distance, cubic)
        index = floor + offset
        if exclude:
            share = np.where((index < 0) | (index >= size), 0.0, share)
        np.add.at(weights, (np.arange(len(places)), index.clip(0, size - 1)), share)
    return weights / weights.sum(1, keepdims=True) if exclude else weights


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Weight of cubic convolution (Keys 1981)."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))  # noqa: PLR2004 - the kernel's support


def upsample(x: Tensor, scales: Host | None = None, *, mode: str = "nearest", **older: Any) -> Tensor:  # noqa: ANN401 - scales as an attribute
    """Upsample, the older form of Resize."""
    factors = scales if scales is not None else older["scales"]
    return resize(x, None, factors, mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode="floor")


def suppress(
    boxes: Tensor,
    scores: Tensor,
    most: Host | None = None,
    overlap: Host | None = None,
    least: Host | None = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    """NonMaxSuppression: ``[chosen, 3]`` of batch, class and box; on the host, box by box."""
    limit = int(most[0]) if most else 0
    threshold, floor = float(overlap[0]) if overlap else 0.0, float(least[0]) if least else None
    corners = boxes.to("cpu", torch.float32).numpy()
    if center_point_box:
        x, y, w, h = np.moveaxis(corners, -1, 0)
        corners = np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], -1)
    top, low = np.minimum(corners[..., :2], corners[..., 2:]), np.maximum(corners[..., :2], corners[..., 2:])
    values = scores.to("cpu", torch.float32).numpy()
    found: list[tuple[int, int, int]] = []
    for batch, classes in enumerate(values):
        for kind, row in enumerate(classes):
            order = [int(i) for i in np.argsort(-row, kind="stable") if floor is None or row[i] > floor]
            kept: list[int] = []
            for box in order:
                if len(kept) >= limit:
                    break
                if all(_overlap(top[batch], low[batch], box, other) <= threshold for other in kept):
                    kept.append(box)
            found += [(batch, kind, box) for box in kept]
    return torch.tensor(found, dtype=torch.int64, device=boxes.device).reshape(-1, 3)


def _overlap(top: np.ndarray, low: np.ndarray, one: int, other: int) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(low[one], low[other]) - np.maximum(top[one], top[other])
    shared = float(np.prod(np.maximum(sides, 0)))
    areas = [float(np.prod(low[i] - top[i])) for i in (one, other)]
    union = sum(areas) - shared
    return shared / union if union > 0 else 0.0


SEQUENCE: Table = {
    "LSTM": simple(run_lstm),
    "GRU": simple(run_gru),
    "RNN": simple(run_rnn),
    "Resize": simple(resize, 1, 2, 3),
    "Upsample": simple(upsample, 1),
    "NonMaxSuppression": Operator(suppress, frozenset({2, 3, 4}), loose=True),
}
"""Operator -> its function; source: ONNX operator specifications."""

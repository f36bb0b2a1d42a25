"""Recurrent layers, resizing and choice of boxes: operators of ONNX that are small programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from assay.backends.torch.operators import Host, Operator, Table, Tensor, simple

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Relu": torch.relu,
}
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""Whether each direction of a layer goes backwards."""


class _Inputs(NamedTuple):
    """Inputs of a recurrent layer, in ONNX's order; only LSTM has the last two.

    Attributes:
        x: ``[T, B, I]``, or batch first where ``layout`` is 1.
        w: ``[D, gates * H, I]`` weights of the input.
        r: ``[D, gates * H, H]`` weights of the hidden state.
        b: ``[D, 2 * gates * H]`` biases; None for zeros.
        lengths: ``[B]`` steps of each item; None for all.
        hidden: ``[D, B, H]`` hidden state before the first step, batch first likewise; None for zeros.
        cell: likewise.
        peepholes: ``[D, 3 * H]``; None for none.
    """

    x: Tensor
    w: Tensor
    r: Tensor
    b: Tensor | None = None
    lengths: Tensor | None = None
    hidden: Tensor | None = None
    cell: Tensor | None = None
    peepholes: Tensor | None = None


class _Direction(NamedTuple):
    """What one direction of a recurrent layer computes with.

    Attributes:
        place: among the layer's directions.
        w: ``[gates * H, I]`` weights of the input.
        r: ``[gates * H, H]`` weights of the hidden state.
        w_bias: ``[gates * H]``, beside ``w``.
        r_bias: ``[gates * H]``, beside ``r``.
        activations: of the gates.
    """

    place: int
    w: Tensor
    r: Tensor
    w_bias: Tensor
    r_bias: Tensor
    activations: list[Callable[[Tensor], Tensor]]

    def add(self, value: Tensor, hidden: Tensor) -> Tensor:
        """Sums of all gates, ``[B, gates * H]``."""
        return value @ self.w.t() + hidden @ self.r.t() + self.w_bias + self.r_bias


Step = Callable[[Tensor, list[Tensor], _Direction], list[Tensor]]
"""From the input ``[B, I]`` at one time and the states before it, each ``[B, H]``, to the states after it."""


def _pick(activations: Host | None, standard: tuple[str, ...], index: int) -> list[Callable[[Tensor], Tensor]]:
    """Activations of one direction."""
    names = [str(name) for name in activations] if activations else [*standard, *standard]
    return [ACTIVATIONS[name] for name in names[index * len(standard) : (index + 1) * len(standard)]]


def _run_direction(
    x: Tensor, state: list[Tensor], step: Step, own: _Direction, lengths: Tensor | None, *, backwards: bool
) -> tuple[Tensor, list[Tensor]]:
    """One direction over ``x [T, B, I]``: all hidden states ``[T, B, H]``, and the last ones."""
    outputs: list[Tensor] = []
    for index in reversed(range(x.shape[0])) if backwards else range(x.shape[0]):
        fresh = step(x[index], state, own)
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


def _run_layer(  # noqa: PLR0913 - the attributes that all recurrent layers have
    step: Step,
    standard: tuple[str, ...],
    inputs: _Inputs,
    begin: tuple[Tensor | None, ...],
    *,
    hidden_size: int,
    direction: str = "forward",
    activations: Host | None = None,
    layout: int = 0,
) -> tuple[Tensor, ...]:
    """All directions of a recurrent layer.

    Args:
        step: of the layer.
        standard: activations of a direction where none are named.
        inputs: of the layer.
        begin: states before the first step, ``[D, B, H]`` each, or batch first where ``layout`` is 1; None for zeros.
        hidden_size: ``H``.
        direction: ``forward``, ``reverse`` or ``bidirectional``.
        activations: names, one direction's after the other's.
        layout: 1 where the batch is the first axis.

    Returns:
        ``Y [T, D, B, H]`` and the last states ``[D, B, H]``; batch first where ``layout`` is 1.
    """
    x = inputs.x.transpose(0, 1) if layout else inputs.x
    starts = [given.transpose(0, 1) if layout and given is not None else given for given in begin]
    found: list[tuple[Tensor, list[Tensor]]] = []
    for index, backwards in enumerate(DIRECTIONS[direction]):
        biases = _split_bias(inputs.b, index, inputs.w.shape[1], x)
        own = _Direction(index, inputs.w[index], inputs.r[index], *biases, _pick(activations, standard, index))
        state = [_start(given, index, x, hidden_size) for given in starts]
        found.append(_run_direction(x, state, step, own, inputs.lengths, backwards=backwards))
    y = torch.stack([outputs for outputs, _ in found], 1)
    states = [torch.stack(parts) for parts in zip(*(state for _, state in found), strict=True)]
    if layout:
        return (y.permute(2, 0, 1, 3), *(state.transpose(0, 1) for state in states))
    return (y, *states)


def run_lstm(*inputs: Tensor | None, input_forget: int = 0, **layer: Any) -> tuple[Tensor, ...]:  # noqa: ANN401 - attributes that all recurrent layers have
    """LSTM; gates in the order input, output, forget, cell."""
    given = _Inputs(*inputs)

    def step(value: Tensor, state: list[Tensor], own: _Direction) -> list[Tensor]:
        p = (0.0, 0.0, 0.0) if given.peepholes is None else given.peepholes[own.place].chunk(3)
        f, g, h = own.activations
        i, o, forget, c = own.add(value, state[0]).chunk(4, 1)
        i = f(i + p[0] * state[1])
        forget = 1 - i if input_forget else f(forget + p[2] * state[1])
        fresh = forget * state[1] + i * g(c)
        return [f(o + p[1] * fresh) * h(fresh), fresh]

    return _run_layer(step, ("Sigmoid", "Tanh", "Tanh"), given, (given.hidden, given.cell), **layer)


def run_gru(*inputs: Tensor | None, linear_before_reset: int = 0, **layer: Any) -> tuple[Tensor, ...]:  # noqa: ANN401 - as above
    """GRU; gates in the order update, reset, hidden."""
    given = _Inputs(*inputs)

    def step(value: Tensor, state: list[Tensor], own: _Direction) -> list[Tensor]:
        f, g = own.activations
        size = state[0].shape[1]
        left = value @ own.w.t() + own.w_bias
        right = state[0] @ own.r[: 2 * size].t() + own.r_bias[: 2 * size]
        update = f(left[:, :size] + right[:, :size])
        reset = f(left[:, size : 2 * size] + right[:, size:])
        last, shift = own.r[2 * size :].t(), own.r_bias[2 * size :]
        inner = reset * (state[0] @ last + shift) if linear_before_reset else (reset * state[0]) @ last + shift
        return [(1 - update) * g(left[:, 2 * size :] + inner) + update * state[0]]

    return _run_layer(step, ("Sigmoid", "Tanh"), given, (given.hidden,), **layer)


def run_rnn(*inputs: Tensor | None, **layer: Any) -> tuple[Tensor, ...]:  # noqa: ANN401 - as above
    """RNN."""
    given = _Inputs(*inputs)

    def step(value: Tensor, state: list[Tensor], own: _Direction) -> list[Tensor]:
        (f,) = own.activations
        return [f(own.add(value, state[0]))]

    return _run_layer(step, ("Tanh",), given, (given.hidden,), **layer)


def resize(  # noqa: PLR0913 - the inputs and attributes of the operator
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

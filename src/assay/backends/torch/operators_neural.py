"""Convolutions, matrix products, pools and normalisations of ONNX in torch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional

from assay.backends.torch.operators import DTYPES, Host, Operator, Table, Tensor, simple
from assay.backends.torch.windows import Window, make_window, pad_spatial

CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
MAX_POOLS = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


def convolve(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    group: int = 1,
    kernel_shape: Host | None = None,
    **window: Any,  # noqa: ANN401 - strides, dilations, pads and auto_pad
) -> Tensor:
    """Conv: ``x [N, C, ...]``, ``w [M, C/group, ...]``."""
    del kernel_shape  # that of the weight
    found = make_window(x.shape[2:], w.shape[2:], **window)
    if not found.even:
        x = pad_spatial(x, found.before, found.after, 0.0)
    padding = found.before if found.even else (0,) * len(found.kernel)
    return CONVOLUTIONS[len(found.kernel)](x, w, b, found.strides, padding, found.dilations, group)


def convolve_transposed(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    group: int = 1,
    kernel_shape: Host | None = None,
    output_padding: Host | None = None,
    output_shape: Host | None = None,
    **window: Any,  # noqa: ANN401 - as above
) -> Tensor:
    """ConvTranspose: ``x [N, C, ...]``, ``w [C, M/group, ...]``; what the pads say is cut from the whole result."""
    del kernel_shape
    rank = x.dim() - 2
    strides = tuple(window.get("strides") or [1] * rank)
    dilations = tuple(window.get("dilations") or [1] * rank)
    extra = tuple(output_padding or [0] * rank)
    whole = [
        (size - 1) * s + d * (k - 1) + 1 + e
        for size, s, d, k, e in zip(x.shape[2:], strides, dilations, w.shape[2:], extra, strict=True)
    ]
    before, after = _find_cuts(whole, x.shape[2:], strides, output_shape, window)
    # torch takes output padding only below a stride or a dilation: zeros behind are the same.
    y = TRANSPOSED[rank](x, w, None, strides, 0, 0, group, dilations)
    behind = [more + max(0, -cut) for more, cut in zip(extra, after, strict=True)]
    y = pad_spatial(y, (0,) * rank, behind, 0.0) if any(behind) else y
    for axis in range(rank):
        y = torch.narrow(y, axis + 2, before[axis], whole[axis] - before[axis] - after[axis])
    return y if b is None else y + b.reshape(-1, *[1] * rank)


def _find_cuts(
    whole: list[int], spatial: Host, strides: Host, wanted: Host | None, window: dict[str, Any]
) -> tuple[Host, Host]:
    """What is cut in front and behind of a transposed convolution."""
    automatic = window.get("auto_pad", "NOTSET")
    if wanted is None and automatic in {"SAME_UPPER", "SAME_LOWER"}:
        wanted = tuple(size * stride for size, stride in zip(spatial, strides, strict=True))
    if wanted is None:
        pads = tuple(window.get("pads") or [0] * 2 * len(whole))
        return pads[: len(whole)], pads[len(whole) :]
    total = [size - int(want) for size, want in zip(whole, wanted[-len(whole) :], strict=True)]
    less = tuple(size // 2 if size > 0 else 0 for size in total)
    more = tuple(size - part for size, part in zip(total, less, strict=True))
    # What is missing stands behind, as output padding does.
    front = less if automatic == "SAME_UPPER" else tuple(max(0, size) for size in more)
    return front, tuple(size - part for size, part in zip(total, front, strict=True))


def multiply_general(  # noqa: PLR0913 - the inputs and attributes of the operator
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - as ONNX spells it
    transB: int = 0,  # noqa: N803 - as ONNX spells it
    broadcast: int = 1,
) -> Tensor:
    """Gemm."""
    del broadcast  # always, since operator set 7
    left, right = a.t() if transA else a, b.t() if transB else b
    if c is not None and c.dim() == 1 and alpha == beta == 1:
        return torch.addmm(c, left, right)
    product = torch.matmul(left, right)
    product = product if alpha == 1 else alpha * product
    return product if c is None else product + (c if beta == 1 else beta * c)


def pool_maximum(
    x: Tensor,
    *,
    kernel_shape: Host,
    ceil_mode: int = 0,
    storage_order: int = 0,
    **window: Any,  # noqa: ANN401 - as above
) -> tuple[Tensor, Tensor] | Tensor:
    """MaxPool; padding never wins."""
    del storage_order  # of the indices, which are of no use to inference
    found = make_window(x.shape[2:], kernel_shape, **window)
    after = _round_up(found, x.shape[2:]) if ceil_mode else found.after
    whole = x if x.is_floating_point() else x.to(torch.float32)  # torch pools no integers
    least = torch.finfo(whole.dtype).min if whole is not x else -math.inf
    if any(found.before) or any(after):
        whole = pad_spatial(whole, found.before, after, least)
    y = MAX_POOLS[len(kernel_shape)](whole, found.kernel, found.strides, 0, found.dilations)
    return y.to(x.dtype)


def pool_average(
    x: Tensor,
    *,
    kernel_shape: Host,
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    **window: Any,  # noqa: ANN401 - as above
) -> Tensor:
    """AveragePool, over what lies inside unless ``count_include_pad``."""
    found = make_window(x.shape[2:], kernel_shape, **window)
    after = _round_up(found, x.shape[2:]) if ceil_mode else found.after
    total = _sum_windows(pad_spatial(x, found.before, after, 0.0), found)
    ones = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
    if count_include_pad:
        ones = pad_spatial(ones, found.before, found.after, 1.0)
        ones = pad_spatial(ones, (0,) * len(after), [a - b for a, b in zip(after, found.after, strict=True)], 0.0)
    else:
        ones = pad_spatial(ones, found.before, after, 0.0)
    return total / _sum_windows(ones, found)


def _sum_windows(x: Tensor, window: Window) -> Tensor:
    """Sum over each window of an input that is padded."""
    size = math.prod(window.kernel)
    if all(dilation == 1 for dilation in window.dilations):
        pool = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}[len(window.kernel)]
        return pool(x, window.kernel, window.strides) * size
    channels = x.shape[1]
    ones = torch.ones((channels, 1, *window.kernel), dtype=x.dtype, device=x.device)
    return CONVOLUTIONS[len(window.kernel)](x, ones, None, window.strides, 0, window.dilations, channels)


def _round_up(window: Window, spatial: Host) -> tuple[int, ...]:
    """Padding behind that completes the last window of each axis, where that begins inside or in the front padding."""
    after = []
    for axis, size in enumerate(spatial):
        stride, reach = window.strides[axis], window.dilations[axis] * (window.kernel[axis] - 1) + 1
        padded = size + window.before[axis] + window.after[axis]
        steps = -(-(padded - reach) // stride)
        if steps * stride >= size + window.before[axis]:
            steps -= 1
        after.append(max(window.after[axis], steps * stride + reach - size - window.before[axis]))
    return tuple(after)


def pool_norm(x: Tensor, *, kernel_shape: Host, p: int = 2, ceil_mode: int = 0, **window: Any) -> Tensor:  # noqa: ANN401 - as above
    """LpPool."""
    found = make_window(x.shape[2:], kernel_shape, **window)
    after = _round_up(found, x.shape[2:]) if ceil_mode else found.after
    return _sum_windows(pad_spatial(x.abs() ** p, found.before, after, 0.0), found) ** (1 / p)


def normalize_batch(
    x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, *, epsilon: float = 1e-5, **training: float
) -> Tensor:
    """BatchNormalization with the stored statistics."""
    del training
    shape = (-1, *[1] * (x.dim() - 2))
    factor = scale.reshape(shape) / torch.sqrt(variance.reshape(shape) + epsilon)
    return ((x - mean.reshape(shape)) * factor + bias.reshape(shape)).to(x.dtype)


def normalize_instance(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """InstanceNormalization."""
    return functional.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


def normalize_layer(
    x: Tensor, scale: Tensor, bias: Tensor | None = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """LayerNormalization over the axes from ``axis`` on, in the stash's type: result, mean, inverse deviation."""
    axes = tuple(range(axis % x.dim(), x.dim()))
    wide = x.to(DTYPES[stash_type])
    mean = wide.mean(axes, keepdim=True)
    centred = wide - mean
    inverse = torch.rsqrt((centred * centred).mean(axes, keepdim=True) + epsilon)
    scaled = (centred * inverse).to(x.dtype) * scale
    return scaled if bias is None else scaled + bias, mean, inverse


def normalize_group(
    x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """GroupNormalization; before operator set 21 with a scale for each group."""
    channels = x.shape[1]
    if scale.numel() != channels:
        scale, bias = (part.repeat_interleave(channels // num_groups) for part in (scale, bias))
    wide = functional.group_norm(x.to(DTYPES[stash_type]), num_groups, eps=epsilon).to(x.dtype)
    shape = (-1, *[1] * (x.dim() - 2))
    return wide * scale.reshape(shape) + bias.reshape(shape)


def normalize_lp(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """LpNormalization."""
    norm = torch.linalg.vector_norm(x, p, dim=axis, keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(x), x / norm)


def normalize_response(x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    """LRN over neighbouring channels."""
    lead = (size - 1) // 2
    squares = functional.pad((x * x).movedim(1, -1), (lead, size - 1 - lead))
    total = squares.unfold(-1, size, 1).sum(-1).movedim(-1, 1)
    return x / (bias + alpha / size * total) ** beta


def _softmax(function: Any) -> Operator:  # noqa: ANN401 - torch's function
    """Softmax or LogSoftmax; before operator set 13 over all axes from ``axis`` on."""

    def run(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
        if opset >= 13:  # noqa: PLR2004 - the operator set that changed it
            return function(x, dim=-1 if axis is None else axis)
        at = (1 if axis is None else axis) % max(x.dim(), 1)
        return function(x.flatten(at) if at else x.reshape(-1), dim=-1).reshape(x.shape)

    return Operator(run, versioned=True)


def choose_hard(x: Tensor, *, axis: int = -1) -> Tensor:
    """Hardmax: 1 at the first largest."""
    shape = [-1 if one == axis % x.dim() else 1 for one in range(x.dim())]
    places = torch.arange(x.shape[axis], device=x.device).reshape(shape)
    return (places == x.argmax(axis, keepdim=True)).to(x.dtype)


def attend(*inputs: Tensor, equation: str) -> Tensor:
    """Einsum."""
    return torch.einsum(equation, *inputs)


def _pool_all(function: Any) -> Operator:  # noqa: ANN401 - torch's function
    return simple(lambda x: function(x, tuple(range(2, x.dim())), keepdim=True))


NEURAL: Table = {
    "Conv": simple(convolve),
    "ConvTranspose": simple(convolve_transposed),
    "MatMul": simple(torch.matmul),
    "Gemm": simple(multiply_general),
    "Einsum": simple(attend),
    "MaxPool": simple(pool_maximum),
    "AveragePool": simple(pool_average),
    "LpPool": simple(pool_norm),
    "GlobalAveragePool": _pool_all(torch.mean),
    "GlobalMaxPool": _pool_all(torch.amax),
    "BatchNormalization": simple(normalize_batch),
    "InstanceNormalization": simple(normalize_instance),
    "LayerNormalization": simple(normalize_layer),
    "GroupNormalization": simple(normalize_group),
    "LpNormalization": simple(normalize_lp),
    "LRN": simple(normalize_response),
    "Softmax": _softmax(functional.softmax),
    "LogSoftmax": _softmax(functional.log_softmax),
    "Hardmax": simple(choose_hard),
}
"""Operator -> its function; source: ONNX operator specifications."""

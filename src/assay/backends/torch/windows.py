"""Windows of convolutions and pools: how far each axis is padded, for every form in which ONNX says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch.nn import functional

from assay.backends.torch.operators import Host, Tensor


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window over the spatial axes.

    Attributes:
        kernel: size of each axis.
        strides: of each axis.
        dilations: of each axis.
        before: padding in front of each axis.
        after: padding behind each axis.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def even(self) -> bool:
        """Whether each axis is padded equally on both sides."""
        return self.before == self.after

    def sizes(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Size of each axis of the result."""
        reach = [dilation * (kernel - 1) + 1 for dilation, kernel in zip(self.dilations, self.kernel, strict=True)]
        padded = [size + a + b for size, a, b in zip(spatial, self.before, self.after, strict=True)]
        return tuple((size - r) // s + 1 for size, r, s in zip(padded, reach, self.strides, strict=True))


def make_window(
    spatial: Sequence[int],
    kernel: Sequence[int],
    *,
    strides: Host | None = None,
    dilations: Host | None = None,
    pads: Host | None = None,
    auto_pad: str = "NOTSET",
) -> Window:
    """A window over an input.

    Args:
        spatial: sizes of the input's spatial axes.
        kernel: sizes of the window.
        strides: 1 where not given.
        dilations: 1 where not given.
        pads: all that stand in front, then all that stand behind.
        auto_pad: ``SAME_UPPER``, ``SAME_LOWER`` or ``VALID`` instead.
    """
    rank = len(kernel)
    stride, dilation = tuple(strides or [1] * rank), tuple(dilations or [1] * rank)
    if auto_pad in {"SAME_UPPER", "SAME_LOWER"}:
        total = [
            max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)
            for size, s, d, k in zip(spatial, stride, dilation, kernel, strict=True)
        ]
        less, more = tuple(size // 2 for size in total), tuple(size - size // 2 for size in total)
        before, after = (less, more) if auto_pad == "SAME_UPPER" else (more, less)
    else:
        given = tuple(pads or [0] * 2 * rank) if auto_pad == "NOTSET" else (0,) * 2 * rank
        before, after = given[:rank], given[rank:]
    return Window(tuple(kernel), stride, dilation, before, after)


def pad_spatial(x: Tensor, before: Sequence[int], after: Sequence[int], value: float) -> Tensor:
    """Pad the last axes with a number."""
    flat = [size for pair in reversed(list(zip(before, after, strict=True))) for size in pair]
    return functional.pad(x, flat, value=value)

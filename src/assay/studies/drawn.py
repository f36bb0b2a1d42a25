"""An item of a data set as a person can take it in: a small picture, or a short text."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.core.tensor import Array, Feeds

LONGEST_PX = 96
COLOURS = 64
LEAST_SIDE_PX = 8
"""What is smaller in a direction is no picture: ``[1, 1, 512]`` are features."""
CHANNELS = (1, 3)
MOST_CHARACTERS = 280
MOST_NUMBERS = 12


def draw_item(feeds: Feeds) -> tuple[str, str]:
    """Picture and text of one item, one of them empty.

    The first input of the form ``[C, H, W]`` or ``[H, W, C]`` with 1 or 3 channels is drawn, its range of values
    stretched to black and white, at most 96 pixels long. Everything else is told in words.

    Args:
        feeds: inputs of one item by name, without the item axis.

    Returns:
        PNG as base64, and text.
    """
    for array in feeds.values():
        pixels = _find_pixels(array)
        if pixels is not None:
            return _encode(pixels), ""
    return "", shorten("; ".join(f"{name}: {put_in_words(array)}" for name, array in feeds.items()))


def put_in_words(array: Array) -> str:
    """A short text for any array: texts as they are, a few numbers as they are, many by their number and range."""
    flat = array.reshape(-1)
    if flat.size == 0:
        return "nothing"
    if flat.dtype.kind in "USO":
        texts = (value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in flat.tolist())
        return shorten(" | ".join(texts))
    if flat.dtype.kind not in "iub":
        return _summarise(flat.astype(np.float64), array.shape)
    first = " ".join(str(value) for value in flat[:MOST_NUMBERS].tolist())
    return first if flat.size <= MOST_NUMBERS else f"{first} … ({flat.size} numbers)"


def _summarise(values: NDArray[np.float64], shape: tuple[int, ...]) -> str:
    if values.size <= MOST_NUMBERS:
        return " ".join(f"{value:.4g}" for value in values)
    finite = values[np.isfinite(values)]
    extent = f"{finite.min():.4g} to {finite.max():.4g}" if finite.size else "none of them finite"
    return f"{'x'.join(map(str, shape))} numbers, {extent}"


def _find_pixels(array: Array) -> NDArray[np.uint8] | None:
    """``[H, W]`` or ``[H, W, 3]``, or None where the array is no picture."""
    numeric = array.dtype.kind in "fiub" or array.dtype.name == "bfloat16"
    if array.ndim != 3 or not numeric:  # noqa: PLR2004 - two directions and channels
        return None
    for axis in (0, 2):
        sides = [side for place, side in enumerate(array.shape) if place != axis]
        if array.shape[axis] in CHANNELS and min(sides) >= LEAST_SIDE_PX:
            return _stretch(np.moveaxis(array, axis, 2))
    return None


def _stretch(picture: Array) -> NDArray[np.uint8]:
    values = picture.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape[:2], dtype=np.uint8)
    low, high = values[finite].min(), values[finite].max()
    # Halved, so that the distance of two values cannot overflow.
    span = max(high / 2 - low / 2, np.finfo(np.float64).tiny)
    values = np.where(finite, values, low)
    pixels: NDArray[np.uint8] = np.clip((values / 2 - low / 2) / span * 255, 0, 255).round().astype(np.uint8)
    return pixels.squeeze(axis=2) if pixels.shape[2] == 1 else pixels


def _encode(pixels: NDArray[np.uint8]) -> str:
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((LONGEST_PX, LONGEST_PX))
    if picture.mode == "RGB":
        # A palette is a third of the bytes, and a report may hold hundreds of pictures.
        picture = picture.quantize(COLOURS)
    written = BytesIO()
    picture.save(written, format="PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode("ascii")


def shorten(text: str) -> str:
    """At most as many characters of a text as fit beside an item."""
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"

"""What goes wrong with calibration sets, and with production after they were made."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from poor.subjects import Pixels, Subject  # isort: skip

ITEMS = 100
FEW = 10
ODD = 37
"""Position of the one outlying item."""
JPEG_QUALITY = 10
DARKNESS = 0.25


@dataclass(frozen=True)
class Failure:
    """One way of being poor.

    Attributes:
        make: from the subject and its good set, as stored pixels, to the inputs of the calibration set.
        degrade: what production does to its pixels since, or None where the fault is the set's.
    """

    name: str
    make: Callable[[Subject, Pixels], NDArray[np.float32]]
    degrade: Callable[[Subject, Pixels], Pixels] | None = None


def list_failures(subject: Subject) -> tuple[Failure, ...]:
    """Every failure that the subject can have; a single channel cannot be swapped."""
    colours = subject.pool.shape[subject.channel_axis] > 1
    return tuple(failure for failure in FAILURES if colours or failure.name not in COLOURED)


def make_good(subject: Subject, good: Pixels) -> NDArray[np.float32]:
    """As the network wants it."""
    return subject.prepare(good)


def make_elsewhere(subject: Subject, good: Pixels) -> NDArray[np.float32]:
    """The pair's own calibration data, for photographs another source than those evaluated."""
    return subject.prepare(subject.elsewhere[: len(good)])


def make_noise(subject: Subject, good: Pixels) -> NDArray[np.float32]:
    """Normal noise of unit variance, as one draws where there is no data."""
    shape = subject.prepare(good[:1]).shape[1:]
    return np.random.default_rng(0).normal(0, 1, (len(good), *shape)).astype(np.float32)


def make_noise_pixels(subject: Subject, good: Pixels) -> NDArray[np.float32]:
    """Uniformly random pixels, prepared as they should be."""
    return subject.prepare(np.random.default_rng(0).integers(0, 256, good.shape))


def make_raw(subject: Subject, good: Pixels) -> NDArray[np.float32]:
    """Bytes as they are stored."""
    del subject
    return good.astype(np.float32)


def make_unit(subject: Subject, good: Pixels) -> NDArray[np.float32]:
    """Bytes over 255 and nothing else."""
    del subject
    return good.astype(np.float32) / 255


def make_swapped(subject: Subject, good: Pixels) -> NDArray[np.float32]:
    """BGR for RGB, or the reverse."""
    return subject.prepare(np.flip(good, subject.channel_axis))


def make_relaid(subject: Subject, good: Pixels) -> NDArray[np.float32]:
    """Memory of one layout read as the other."""
    other = good.transpose(0, 2, 3, 1) if subject.channel_axis == 1 else good.transpose(0, 3, 1, 2)
    return subject.prepare(np.ascontiguousarray(other).reshape(good.shape))


def make_transposed(subject: Subject, good: Pixels) -> NDArray[np.float32]:
    """Rows for columns."""
    rows = 2 if subject.channel_axis == 1 else 1
    return subject.prepare(np.swapaxes(good, rows, rows + 1))


def make_one_class(subject: Subject, good: Pixels) -> NDArray[np.float32]:
    """Items of one class only, as many as there are."""
    return subject.prepare(subject.alike[: len(good)])


def make_few(subject: Subject, good: Pixels) -> NDArray[np.float32]:
    """Ten items."""
    return subject.prepare(good[:FEW])


def make_copies(subject: Subject, good: Pixels) -> NDArray[np.float32]:
    """The same item over and over."""
    return subject.prepare(good[:1].repeat(len(good), axis=0))


def make_outlier(factor: float) -> Callable[[Subject, Pixels], NDArray[np.float32]]:
    """One item that is so many times as large as it should be."""

    def make(subject: Subject, good: Pixels) -> NDArray[np.float32]:
        inputs = subject.prepare(good)
        inputs[ODD] *= factor
        return inputs

    return make


def make_dead_pixel(subject: Subject, good: Pixels) -> NDArray[np.float32]:
    """One value of one item that is far out of range."""
    inputs = subject.prepare(good)
    inputs[ODD].flat[0] = 1e4
    return inputs


def darken(subject: Subject, pixels: Pixels) -> Pixels:
    """A quarter of the light."""
    del subject
    return (pixels * DARKNESS).astype(np.uint8)


def blur(subject: Subject, pixels: Pixels) -> Pixels:
    """Out of focus, by 1/75 of the width and at least a pixel."""
    radius = max(1.0, pixels.shape[2] / 75)
    return change_images(subject, pixels, lambda image: image.filter(ImageFilter.GaussianBlur(radius)))


def compress(subject: Subject, pixels: Pixels) -> Pixels:
    """Through JPEG at quality 10."""

    def recode(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=JPEG_QUALITY)
        return Image.open(io.BytesIO(buffer.getvalue()))

    return change_images(subject, pixels, recode)


def change_images(subject: Subject, pixels: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    """Every item as a picture, changed."""
    last = np.moveaxis(pixels, subject.channel_axis, -1)
    changed = [np.asarray(change(Image.fromarray(item[..., 0] if item.shape[-1] == 1 else item))) for item in last]
    stacked = np.stack(changed).reshape(last.shape)
    return np.ascontiguousarray(np.moveaxis(stacked, -1, subject.channel_axis))


COLOURED = ("swapped channels", "other layout")
GOOD = Failure("none: 100 honest items", make_good)
FAILURES = (
    GOOD,
    Failure("the pair's own set", make_elsewhere),
    Failure("normal noise", make_noise),
    Failure("random pixels", make_noise_pixels),
    Failure("raw bytes, 0-255", make_raw),
    Failure("0-1, not normalised", make_unit),
    Failure("swapped channels", make_swapped),
    Failure("other layout", make_relaid),
    Failure("rows for columns", make_transposed),
    Failure("one class", make_one_class),
    Failure("ten items", make_few),
    Failure("one item 100 times", make_copies),
    Failure("one item x1000", make_outlier(1000.0)),
    Failure("one item x30", make_outlier(30.0)),
    Failure("one value of 10,000", make_dead_pixel),
    Failure("production is dark", make_good, darken),
    Failure("production is blurred", make_good, blur),
    Failure("production is JPEG", make_good, compress),
)

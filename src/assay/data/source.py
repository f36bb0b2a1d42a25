"""What the user declares about data: where it lies and how an item becomes a model input."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from assay.core.errors import RequestError
from assay.data.lengths import Lengths
from assay.data.text_options import TextOptions


class Layout(StrEnum):
    """Order of the axes of a batch of images."""

    NCHW = "nchw"
    NHWC = "nhwc"


class Channels(StrEnum):
    """Colour channels of an image in the order the model takes them."""

    RGB = "rgb"
    BGR = "bgr"
    GRAY = "gray"


class Resample(StrEnum):
    """Resampling filter of a resize."""

    NEAREST = "nearest"
    BOX = "box"
    BILINEAR = "bilinear"
    HAMMING = "hamming"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How stored images or arrays become a model input, in this order.

    Images are turned upright (EXIF), resized, cropped and converted to ``channels``; then images and arrays alike
    are moved to ``layout``, become ``(x / scale - mean) / std`` and are cast to ``dtype``. Arrays are never resized,
    cropped or recoloured.

    Attributes:
        input: the model input that is prepared; empty for the only one.
        resize: ``(width, height)`` in pixels, or the length of the short side, the ratio of the sides kept.
        resample: filter of the resize.
        crop: ``(width, height)`` cut from the centre, or the side of a square.
        channels: channels the model takes; None is ``rgb`` for images.
        background: colour that shines through transparent pixels; None drops the alpha channel and leaves the colours
            as stored, which is what ``convert("RGB")`` in training pipelines does.
        layout: axes the model takes.
        stored_layout: axes of stored arrays; None where they are ``layout`` already.
        scale: divisor, such as 255.
        mean: subtracted after the division; one number, or one per channel.
        std: divisor after the mean; one number, or one per channel.
        dtype: NumPy name of the element type; empty for that of the model's input.
        text: how texts become inputs; nothing else applies to them but ``lengths``.
        lengths: how items of different lengths become batches; None where all are equally long, or for texts as
            usual.

    Raises:
        RequestError: a value is impossible, naming its key.
    """

    input: str = ""
    resize: int | tuple[int, int] | None = None
    resample: Resample = Resample.BILINEAR
    crop: int | tuple[int, int] | None = None
    channels: Channels | None = None
    background: tuple[int, int, int] | None = None
    layout: Layout = Layout.NCHW
    stored_layout: Layout | None = None
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    dtype: str = ""
    text: TextOptions | None = None
    lengths: Lengths | None = None

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if self.text is not None and self.changes_arrays:
            message = "preprocess.text is declared beside keys for images and arrays"
            raise RequestError(message, "keep preprocess.text and preprocess.lengths alone")
        _check_size("resize", self.resize)
        _check_size("crop", self.crop)
        if self.background is not None and not all(0 <= part <= 255 for part in self.background):  # noqa: PLR2004 - 8-bit colour
            raise RequestError(f"preprocess.background is {self.background}", "give three numbers from 0 to 255")
        if not math.isfinite(self.scale) or self.scale == 0:
            raise RequestError(f"preprocess.scale is {self.scale}", "give the divisor, such as 255")
        if not all(math.isfinite(value) for value in self.mean):
            raise RequestError(f"preprocess.mean is {self.mean}", "give finite numbers")
        if not all(math.isfinite(value) and value != 0 for value in self.std):
            raise RequestError(f"preprocess.std is {self.std}", "give finite numbers other than 0")
        if len(self.mean) > 1 and len(self.std) > 1 and len(self.mean) != len(self.std):
            message = f"preprocess.mean has {len(self.mean)} channels and preprocess.std {len(self.std)}"
            raise RequestError(message, "give one number, or one per channel, to each")
        self._check_dtype()

    @property
    def changes_arrays(self) -> bool:
        """Whether anything is declared for images and arrays."""
        return replace(self, text=None, lengths=None) != Preprocess()

    @property
    def takes_arrays(self) -> bool:
        """Whether it is for images or arrays, rather than only for texts or lengths."""
        return self.changes_arrays or (self.text is None and self.lengths is None)

    @property
    def arithmetic(self) -> bool:
        """Whether values change, rather than only their order and type."""
        return self.scale != 1 or bool(self.mean) or bool(self.std)

    @property
    def pictorial(self) -> bool:
        """Whether something is declared that only encoded images can get."""
        return not (self.resize is None and self.crop is None and self.channels is None and self.background is None)

    def _check_dtype(self) -> None:
        if not self.dtype:
            return
        hint = "give a NumPy number type, such as float32, uint8 or int64"
        try:
            kind = np.dtype(self.dtype).kind
        except TypeError as err:
            raise RequestError(f"preprocess.dtype is {self.dtype!r}", hint) from err
        if kind not in "fiub":
            raise RequestError(f"preprocess.dtype is {self.dtype!r}", hint)
        if kind != "f" and self.arithmetic:
            message = f"preprocess.dtype is {self.dtype!r}, which would cut off what scale, mean and std leave"
            raise RequestError(message, "give a float type, or leave scale, mean and std out")


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where items come from.

    Attributes:
        path: an ``.npz`` file, a folder of images, a ``.parquet``, ``.arrow`` or ``.feather`` file, the folder of a
            calibration set, or ``module:function``.
        preprocess: how an item becomes a model input; None where it is stored as the model takes it.
        target: name of the array, column or key that holds the labels.
        limit: use only so many items from the start.
        threads: threads that decode images (>= 1).
        columns: names of the further columns of the data to read, by which items are divided into slices.
        apart: each text of an item with several is an item of its own, without a label.

    Raises:
        RequestError: a value is impossible, naming its key.
    """

    path: str
    preprocess: Preprocess | None = None
    target: str = "target"
    limit: int | None = None
    threads: int = 1
    columns: tuple[str, ...] = ()
    apart: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if not self.path:
            raise RequestError("the path of the data is empty", "name a file, a folder or module:function")
        if not self.target:
            raise RequestError("the name of the target is empty", "leave the key out where the data has no labels")
        if self.limit is not None and self.limit < 1:
            raise RequestError(
                f"the limit of {self.path} is {self.limit}", "give the number of items to use, 1 or more"
            )
        if self.threads < 1:
            raise RequestError(f"threads is {self.threads}", "give 1 or more")
        if len(set(self.columns)) != len(self.columns) or not all(self.columns):
            raise RequestError(f"the columns {list(self.columns)} repeat or are empty", "name each column once")


def _check_size(key: str, size: int | tuple[int, int] | None) -> None:
    if size is None:
        return
    sides = (size,) if isinstance(size, int) else size
    if len(sides) not in (1, 2) or not all(side >= 1 for side in sides):
        raise RequestError(f"preprocess.{key} is {size}", "give pixels: one number, or [width, height], 1 or more")

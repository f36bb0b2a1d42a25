"""The pictorial half of preprocessing: encoded images into upright, resized, cropped ``[H, W, C] uint8`` pixels."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from assay.core.errors import DataError
from assay.data.source import Channels, Preprocess, Resample

_FILTERS: Mapping[Resample, Image.Resampling] = {
    Resample.NEAREST: Image.Resampling.NEAREST,
    Resample.BOX: Image.Resampling.BOX,
    Resample.BILINEAR: Image.Resampling.BILINEAR,
    Resample.HAMMING: Image.Resampling.HAMMING,
    Resample.BICUBIC: Image.Resampling.BICUBIC,
    Resample.LANCZOS: Image.Resampling.LANCZOS,
}


def decode_image(encoded: bytes, preprocess: Preprocess, where: str) -> NDArray[np.uint8]:
    """Pixels of an encoded image, ``[H, W, C] uint8``, C = 3 or 1 (gray).

    The first frame of an animation is taken; EXIF orientation is applied; gray, palette and CMYK pictures are
    converted; 16-bit gray keeps its upper 8 bits; transparency is treated as `Preprocess.background` says.

    Args:
        encoded: content of the image file.
        preprocess: what is declared.
        where: the file, for messages.

    Raises:
        DataError: the image cannot be decoded, or is smaller than the crop.
    """
    try:
        with Image.open(BytesIO(encoded)) as image:
            picture = _convert(ImageOps.exif_transpose(image), preprocess, where)
    except UnidentifiedImageError as err:
        raise DataError(f"{where} is not an image, or is damaged", "repair or remove it") from err
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as err:
        # Pillow's decoders let these out on damaged content
        raise DataError(f"{where} cannot be decoded: {err}", "repair or remove it") from err
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise DataError(f"{where} is too large to be decoded safely: {err}", "store it smaller") from err
    picture = _crop(_resize(picture, preprocess), preprocess, where)
    pixels = np.asarray(picture, dtype=np.uint8)
    if pixels.ndim == 2:  # noqa: PLR2004 - a gray picture comes without a channel axis
        pixels = pixels[:, :, np.newaxis]
    return pixels[:, :, ::-1] if preprocess.channels is Channels.BGR else pixels


def _convert(image: Image.Image, preprocess: Preprocess, where: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        # convert() would clip at 255 instead of scaling
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in {"I", "F"}:
        raise DataError(f"{where} has 32-bit pixels, whose range nothing tells", "store 8 or 16 bits per channel")
    if preprocess.background is not None and image.has_transparency_data:
        picture = image.convert("RGBA")
        image = Image.new("RGBA", picture.size, (*preprocess.background, 255))
        image.alpha_composite(picture)
    return image.convert("L" if preprocess.channels is Channels.GRAY else "RGB")


def _resize(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    size = preprocess.resize
    if size is None:
        return image
    if isinstance(size, int):
        short = min(image.size)
        # the long side is cut to whole pixels, as training pipelines do
        width, height = (size if side == short else size * side // short for side in image.size)
        size = (width, height)
    return image if size == image.size else image.resize(size, _FILTERS[preprocess.resample])


def _crop(image: Image.Image, preprocess: Preprocess, where: str) -> Image.Image:
    size = preprocess.crop
    if size is None:
        return image
    width, height = (size, size) if isinstance(size, int) else size
    if image.width < width or image.height < height:
        message = f"{where} is {image.width}x{image.height} pixels after the resize, the crop {width}x{height}"
        raise DataError(message, "declare a preprocess.resize to at least the crop")
    left = round((image.width - width) / 2)
    top = round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))

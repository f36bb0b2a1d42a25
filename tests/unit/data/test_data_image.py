from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from assay.core.errors import DataError
from assay.data.image import decode_image
from assay.data.source import Channels, Preprocess, Resample

RNG = np.random.default_rng(3)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("size", "resize", "expected"),
    [
        ((40, 20), 10, (20, 10)),
        ((20, 40), 10, (10, 20)),
        ((41, 20), 10, (20, 10)),
        ((20, 20), 20, (20, 20)),
        ((40, 20), (7, 9), (7, 9)),
    ],
)
def test_resize(size: tuple[int, int], resize: int | tuple[int, int], expected: tuple[int, int]) -> None:
    pixels = decode_image(encode(noise(*size)), Preprocess(resize=resize), "a.png")
    assert pixels.shape == (expected[1], expected[0], 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("resample", list(Resample))
def test_every_filter_is_the_one_of_its_name(resample: Resample) -> None:
    picture = noise(21, 17)
    pixels = decode_image(encode(picture), Preprocess(resize=(9, 8), resample=resample), "a.png")
    np.testing.assert_array_equal(pixels, np.asarray(picture.resize((9, 8), Image.Resampling[resample.name])))


def test_crop_is_from_the_centre() -> None:
    picture = noise(11, 8)
    pixels = decode_image(encode(picture), Preprocess(crop=(5, 4)), "a.png")
    np.testing.assert_array_equal(pixels, np.asarray(picture)[2:6, 3:8])


def test_crop_larger_than_the_image() -> None:
    with pytest.raises(DataError, match=r"a\.png is 11x8 pixels after the resize, the crop 12x4"):
        decode_image(encode(noise(11, 8)), Preprocess(crop=(12, 4)), "a.png")


def test_exif_orientation_is_applied() -> None:
    picture = noise(6, 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decode_image(encode(picture, exif=exif), Preprocess(), "a.png")
    np.testing.assert_array_equal(pixels, np.rot90(np.asarray(picture), -1))


def test_transparency_is_dropped_or_filled_as_declared() -> None:
    clear = Image.new("RGBA", (2, 2), (10, 20, 30, 0))
    assert decode_image(encode(clear), Preprocess(), "a.png")[0, 0].tolist() == [10, 20, 30]
    filled = decode_image(encode(clear), Preprocess(background=(255, 255, 254)), "a.png")
    assert filled[0, 0].tolist() == [255, 255, 254]


def test_background_fills_transparent_palette_entries() -> None:
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([9, 9, 9, 200, 0, 0])
    palette.putpixel((1, 0), 1)
    pixels = decode_image(encode(palette, transparency=0), Preprocess(background=(1, 2, 3)), "a.png")
    assert pixels[0].tolist() == [[1, 2, 3], [200, 0, 0]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_three_channels_or_one(mode: str) -> None:
    kind = "TIFF" if mode in {"CMYK", "YCbCr"} else "PNG"
    content = encode(Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode), kind)
    pixels = decode_image(content, Preprocess(), "a")
    assert pixels.shape == (2, 3, 3)
    assert decode_image(content, Preprocess(channels=Channels.GRAY), "a").shape == (2, 3, 1)
    assert pixels.min() >= 254


def test_16_bit_gray_keeps_its_upper_bits() -> None:
    wide = Image.fromarray(np.array([[0, 256, 65535, 32768]], dtype=np.uint16))
    pixels = decode_image(encode(wide), Preprocess(channels=Channels.GRAY), "a.png")
    assert pixels[0, :, 0].tolist() == [0, 1, 255, 128]


def test_float_pixels_are_refused() -> None:
    with pytest.raises(DataError, match="32-bit pixels"):
        decode_image(encode(Image.new("F", (2, 2)), "TIFF"), Preprocess(), "a.tiff")


def test_decompression_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="too large to be decoded safely"):
        decode_image(encode(noise(30, 30)), Preprocess(), "a.png")

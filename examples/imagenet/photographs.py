"""Find the photographs in their packages and bring them to the network's 224 x 224 pixels."""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from archives import read_members
from numpy.typing import NDArray
from PIL import Image
from qt_resources import read_resources

STAMPS, ACTIVITIES, FOOLBOX = "tuxpaint-stamps-default", "gcompris-qt-data", "foolbox"
STAMP_FOLDER = "usr/share/tuxpaint/stamps/"
RESOURCE_FOLDER = "usr/share/gcompris-qt/rcc/"
ACTIVITY_FOLDER = "/gcompris/src/activities/"

SHORT_SIDE = 256
SIDE = 224
STAMP_MARGIN = 0.12
WHITE = (255, 255, 255, 255)

CALIBRATION_STAMPS = ("animals", "clothes", "food", "household", "people", "plants", "sports", "town", "vehicles")
CALIBRATION_ACTIVITIES = ("categorization", "details", "erase", "explore_monuments", "explore_world_animals")
CALIBRATION_SHORTEST = 100
CALIBRATION_EACH = 64
CALIBRATION_SEED = 20120101
LOOKS_EQUAL = 8.0

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Photograph:
    """One photograph: where it comes from, its pixels ``[3, 224, 224]`` and the classes that are right for it."""

    package: str
    file: str
    pixels: Pixels
    classes: tuple[int, ...] = ()


def read_stamps(package: Path) -> dict[str, bytes]:
    """Return Tux Paint's pixel stamps by their path below the stamps' folder."""
    return {
        name.removeprefix(STAMP_FOLDER): content
        for name, content in read_members(package, STAMP_FOLDER)
        if name.endswith(".png")
    }


def read_activities(package: Path, work: Path) -> dict[str, bytes]:
    """Return the photographs of GCompris's activities by their path below the activities' folder."""
    wanted = {activity.partition("/")[0] for activity in (*CALIBRATION_ACTIVITIES, "explore_farm_animals")}
    found: dict[str, bytes] = {}
    for name, content in read_members(package, RESOURCE_FOLDER):
        path = Path(name)
        if path.suffix == ".rcc" and path.stem in wanted:
            unpacked = work / path.name
            unpacked.write_bytes(content)
            found |= {
                file.removeprefix(ACTIVITY_FOLDER): picture
                for file, picture in read_resources(unpacked).items()
                if file.endswith(".webp")
            }
            unpacked.unlink()
    return found


def open_on_white(encoded: bytes) -> Image.Image:
    """Decode a picture; white shines through where it is transparent."""
    picture = Image.open(io.BytesIO(encoded)).convert("RGBA")
    canvas = Image.new("RGBA", picture.size, WHITE)
    canvas.alpha_composite(picture)
    return canvas.convert("RGB")


def centre_stamp(encoded: bytes) -> Image.Image:
    """Cut a stamp to what is visible and centre it on a white square with a margin of 12% on every side."""
    stamp = Image.open(io.BytesIO(encoded)).convert("RGBA")
    stamp = stamp.crop(stamp.getchannel("A").getbbox())
    side = round(max(stamp.size) * (1 + 2 * STAMP_MARGIN))
    canvas = Image.new("RGBA", (side, side), WHITE)
    canvas.alpha_composite(stamp, ((side - stamp.width) // 2, (side - stamp.height) // 2))
    return canvas.convert("RGB")


def to_pixels(picture: Image.Image) -> Pixels:
    """Resize the short side to 256, cut 224 x 224 from the centre: ``[3, 224, 224] uint8``, RGB."""
    short = min(picture.size)
    size = (round(picture.width * SHORT_SIDE / short), round(picture.height * SHORT_SIDE / short))
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    left, top = (picture.width - SIDE) // 2, (picture.height - SIDE) // 2
    cut = picture.crop((left, top, left + SIDE, top + SIDE))
    return np.ascontiguousarray(np.asarray(cut, dtype=np.uint8).transpose(2, 0, 1))


def find_labelled(labels: Path, stamps: dict[str, bytes], activities: dict[str, bytes]) -> list[Photograph]:
    """Return the photographs that ``labels.json`` lists."""
    listed = json.loads(labels.read_text(encoding="utf-8"))["photographs"]
    found = []
    for entry in listed:
        file = entry["file"]
        picture = centre_stamp(stamps[file]) if entry["package"] == STAMPS else open_on_white(activities[file])
        found.append(Photograph(entry["package"], file, to_pixels(picture), tuple(entry["classes"])))
    return found


def find_foolbox(wheel: Path) -> list[Photograph]:
    """Return Foolbox's 20 ImageNet pictures; the class is the last number of the file's name."""
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist() if Path(name).match("foolbox/data/imagenet_*.jpg"))
        return [
            Photograph(
                FOOLBOX, name, to_pixels(open_on_white(archive.read(name))), (int(Path(name).stem.split("_")[2]),)
            )
            for name in names
        ]


def choose_calibration(
    stamps: dict[str, bytes], activities: dict[str, bytes], evaluation: list[Photograph]
) -> list[Photograph]:
    """Return 64 stamps and 64 activity photographs that are not labelled and look like no evaluation picture."""
    taken = {photograph.file for photograph in evaluation}
    seen = np.stack([shrink(photograph.pixels) for photograph in evaluation])
    rng = np.random.default_rng(CALIBRATION_SEED)
    chosen: list[Photograph] = []
    for package, pictures, folders in (
        (STAMPS, stamps, CALIBRATION_STAMPS),
        (ACTIVITIES, activities, CALIBRATION_ACTIVITIES),
    ):
        names = sorted(name for name in pictures if name.partition("/")[0] in folders and name not in taken)
        fitting: list[Photograph] = []
        for place in rng.permutation(len(names)):
            name, encoded = names[place], pictures[names[place]]
            if len(fitting) == CALIBRATION_EACH or min(Image.open(io.BytesIO(encoded)).size) < CALIBRATION_SHORTEST:
                continue
            pixels = to_pixels(centre_stamp(encoded) if package == STAMPS else open_on_white(encoded))
            small = shrink(pixels)
            if np.abs(seen - small).mean(axis=1).min() >= LOOKS_EQUAL:
                fitting.append(Photograph(package, name, pixels))
                seen = np.concatenate([seen, small[np.newaxis]])
        chosen += fitting
    return chosen


def shrink(pixels: Pixels) -> NDArray[np.float64]:
    """Return the means of 8 x 8 tiles of each channel, flat: enough to recognise a copy."""
    tiles: NDArray[np.float64] = pixels.reshape(3, 8, SIDE // 8, 8, SIDE // 8).mean(axis=(2, 4))
    return tiles.ravel()

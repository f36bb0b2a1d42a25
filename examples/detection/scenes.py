"""A detection set with exact boxes: photographic cut-outs (Tux Paint's stamps) on photographs (Scratch's backgrounds).

Deterministic. The classes are COCO's 80, numbered from 0.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from archives import read_members
from numpy.typing import NDArray
from PIL import Image

STAMP_FOLDER = "usr/share/tuxpaint/stamps/"
BACKGROUND_FOLDER = "usr/share/scratch/Media/Backgrounds/"
BIRDS, BIRD_FOLDER = 14, "animals/birds"

SIDE = 416
VISIBLE = 64
TRIES = 30
LEAST_DRAWS = 6
UNFLIPPED = 11
"""Stop signs, whose text must not be mirrored."""

OBJECTS: Mapping[int, str] = {
    16: "animals/mammals/dogs/: dog dingo",
    17: "animals/mammals/equines/: horse",
    18: "animals/mammals/bovines/: sheep sheep_lamb ram",
    19: "animals/mammals/bovines/: bull cow cow_white zebu",
    20: "animals/mammals/: elephant",
    21: "animals/mammals/bears/: bear european-bear",
    22: "animals/mammals/equines/: zebra",
    23: "animals/mammals/: giraffe",
    46: "food/fruit/: banana",
    47: "food/fruit/: apple_fuji apple_granny_smith apple_green apple_red apple_sierra_beauty",
    49: "food/fruit/: mandarine orange orange_seville",
    50: "food/vegetables/: broccoli",
    51: "food/vegetables/: carrot",
    53: "food/: pizza",
    32: "sports/: basketball soccer tennis_ball",
    38: "sports/: tennis_racket",
    2: "vehicles/auto/: beetle sedan sportscar2",
    7: "vehicles/: auto/truck emergency/firetruck garbagetruck",
    5: "vehicles/masstransit/: green_korean_bus",
    4: "vehicles/flight/planes/: 747",
    11: "town/roadsigns/: stop",
    9: "town/roadsigns/: stoplight_01_red stoplight_02_yellow stoplight_03_green",
    41: "household/dishes/: mug",
    61: "household/: toilet",
    76: "household/arttools/: scissors_small_open scissors_small_closed",
    77: "animals/mammals/bears/toys/: edward_bear",
    8: "vehicles/ship/: chineseJunk walnutBoat",
}
BACKGROUNDS = (
    ("Nature", "beach-malibu canyon flower-bed forest garden-rock grand-canyon gravel-desert hill lake pathway tree"),
    ("Nature", "water-and-rocks wave"),
    ("Outdoors", "brick-wall1 brick-wall2 castle hay_field mansion"),
)

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """A picture ``[416, 416, 3] uint8`` RGB with its objects: corners ``(x0, y0, x1, y1)`` and class."""

    pixels: NDArray[np.uint8]
    objects: Sequence[tuple[Box, int]]


class Materials:
    """Cut-outs by class and backgrounds, read from the packages."""

    def __init__(self, stamps_package: Path, scratch_package: Path) -> None:
        stamps = dict(read_members(stamps_package, STAMP_FOLDER))
        scenes = dict(read_members(scratch_package, BACKGROUND_FOLDER))
        birds = sorted(PurePosixPath(n).stem for n in stamps if PurePosixPath(n).match(f"{BIRD_FOLDER}/*.png"))
        listed = {BIRDS: [f"{BIRD_FOLDER}/{bird}" for bird in birds]}
        for label, text in OBJECTS.items():
            folder, _, names = text.partition(": ")
            listed[label] = [f"{folder}{name}" for name in names.split()]
        self.cutouts = {
            label: [cut_out(stamps[f"{STAMP_FOLDER}{name}.png"]) for name in names] for label, names in listed.items()
        }
        paths = [f"{BACKGROUND_FOLDER}{folder}/{name}.jpg" for folder, names in BACKGROUNDS for name in names.split()]
        self.backgrounds = [Image.open(io.BytesIO(scenes[path])).convert("RGB") for path in paths]


def cut_out(encoded: bytes) -> Image.Image:
    """A stamp, cropped to what is visible of it."""
    stamp = Image.open(io.BytesIO(encoded)).convert("RGBA")
    visible = stamp.getchannel("A").point([255 if value > VISIBLE else 0 for value in range(256)])
    return stamp.crop(visible.getbbox())


def compose_scenes(materials: Materials, count: int, seed: int) -> list[Scene]:
    """Pictures of one to three objects each that do not overlap; each cut-out is drawn as often as its class allows."""
    # The legacy generator: its sequence is fixed for ever, so the set is the same on every machine.
    rng = np.random.RandomState(seed)
    draws = [
        (label, index)
        for label, cutouts in sorted(materials.cutouts.items())
        for index in range(len(cutouts))
        for _ in range(max(1, LEAST_DRAWS // len(cutouts)))
    ]
    waiting: list[tuple[int, int]] = []
    scenes = []
    for _ in range(count):
        background = materials.backgrounds[rng.randint(len(materials.backgrounds))]
        picture = background.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        objects: list[tuple[Box, int]] = []
        for _ in range(rng.randint(1, 4)):
            if not waiting:
                waiting = [draws[place] for place in rng.permutation(len(draws))]
            label, index = waiting.pop()
            cutout = scale_cutout(materials.cutouts[label][index], rng.uniform(0.3, 0.6) * SIDE)
            if rng.rand() < 0.5 and label != UNFLIPPED:
                cutout = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            for _ in range(TRIES):
                x, y = rng.randint(0, SIDE - cutout.width + 1), rng.randint(0, SIDE - cutout.height + 1)
                box = (x, y, x + cutout.width, y + cutout.height)
                if not any(overlap(box, other) for other, _ in objects):
                    picture.paste(cutout, (x, y), cutout)
                    objects.append((box, label))
                    break
        scenes.append(Scene(np.asarray(picture, dtype=np.uint8), objects))
    return scenes


def scale_cutout(cutout: Image.Image, length: float) -> Image.Image:
    """A cut-out whose longer side has the length, in pixels."""
    ratio = length / max(cutout.size)
    size = (max(8, int(cutout.width * ratio)), max(8, int(cutout.height * ratio)))
    return cutout.resize(size, Image.Resampling.BICUBIC)


def overlap(left: Box, right: Box) -> bool:
    """Whether two boxes share a pixel."""
    return all(min(left[a + 2], right[a + 2]) > max(left[a], right[a]) for a in (0, 1))


def store_scenes(scenes: Sequence[Scene], path: Path, name: str) -> None:
    """Write pictures as ``[n, 3, 416, 416] uint8`` BGR and objects as ``[n, 3, 5] float32``, filled up with -1."""
    target = np.full((len(scenes), 3, 5), -1, np.float32)
    for index, scene in enumerate(scenes):
        for place, (box, label) in enumerate(scene.objects):
            target[index, place] = (*box, label)
    image = np.stack([scene.pixels[..., ::-1].transpose(2, 0, 1) for scene in scenes])
    np.savez_compressed(path, **{name: image, "target": target})

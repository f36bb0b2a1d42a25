"""Every way in which calibration sets go wrong, on a trained network and its own data."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from fitness_samples import LEAST_SQUARES, Values
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from assay.backends.table import load_backend
from assay.calibrate.fitness.judge import judge
from assay.calibrate.observe import Observation
from assay.core.calibration import Calibration
from assay.core.fitness import Fitness, Verdict
from assay.core.session import Batch
from assay.graph.ingest import load_model
from assay.graph.prepare import prepare
from assay.graph.quantize import list_quantized
from assay.studies.exposing import open_exposed

FASHION = Path(__file__).parents[3] / "examples" / "fashion"
TINTS = np.array([0.2, 0.6, 1.4], np.float32)
LUMINANCE = np.array([0.5, 1.0, 0.75], np.float32)
SHIRTS = 6

Observe = Callable[[Values], Calibration]
Pixels = NDArray[np.uint8]


def normalise(pixels: Pixels) -> Values:
    return ((pixels.astype(np.float32) / 255 - 0.2860) / 0.3530).astype(np.float32)


def open_observer(model: ir.Model, scratch: Path) -> Iterator[Observe]:
    name, tensors = str(model.graph.inputs[0].name), sorted(list_quantized(model, LEAST_SQUARES))
    with open_exposed(model, tensors, load_backend("onnxruntime"), scratch) as session:

        def observe(inputs: Values) -> Calibration:
            observation = Observation(tensors, (name,))
            for start in range(0, len(inputs), 50):
                part = Batch({name: inputs[start : start + 50]}, None, start)
                observation.add(part, session.run(part.feeds))
            return observation.build("items")

        yield observe


@pytest.fixture(scope="module")
def observe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observe]:
    model = prepare(load_model(FASHION / "residual.onnx"))
    yield from open_observer(model, tmp_path_factory.mktemp("grey"))


@pytest.fixture(scope="module")
def observe_colour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observe]:
    """The same network behind a layer that takes three channels to one."""
    model = load_model(FASHION / "residual.onnx").clone()
    grey = model.graph.inputs.pop(0)
    colour = ir.val("colour", ir.DataType.FLOAT, ir.Shape(["n", 3, 28, 28]))
    weight = ir.val("luminance", const_value=ir.tensor((LUMINANCE / 3).reshape(1, 3, 1, 1)))
    mixed = ir.node("Conv", [colour, weight], name="mix")
    model.graph.inputs.append(colour)
    model.graph.register_initializer(weight)
    model.graph.insert_before(next(iter(model.graph)), mixed)
    grey.replace_all_uses_with(mixed.outputs[0])
    yield from open_observer(prepare(model), tmp_path_factory.mktemp("colour"))


@pytest.fixture(scope="module")
def images() -> tuple[Pixels, NDArray[np.int64]]:
    with np.load(FASHION / "evaluation.npz") as stored:
        return stored["image"][:1200], stored["target"][:1200]


@pytest.fixture(scope="module")
def good(images: tuple[Pixels, NDArray[np.int64]]) -> Pixels:
    return images[0][200:300]


@pytest.fixture(scope="module")
def sample(observe: Observe, images: tuple[Pixels, NDArray[np.int64]]) -> Calibration:
    return observe(normalise(images[0][:200]))


def assess(calibration: Calibration, sample: Calibration) -> Fitness:
    return judge(calibration, sample, LEAST_SQUARES, np.random.default_rng(0))


def test_honest_items_fit(observe: Observe, good: Pixels, sample: Calibration) -> None:
    fitness = assess(observe(normalise(good)), sample)
    assert (fitness.verdict, fitness.reasons) == (Verdict.FIT, ())


def test_random_noise_is_unfit(observe: Observe, sample: Calibration) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 1, 28, 28)).astype(np.uint8)
    fitness = assess(observe(normalise(noise)), sample)
    assert fitness.verdict is Verdict.UNFIT
    assert fitness.shift_p <= 0.001


@pytest.mark.parametrize("factor", [1.0, 1 / 255], ids=["bytes", "0-1"])
def test_pixels_that_are_not_normalised_are_unfit(
    observe: Observe, good: Pixels, sample: Calibration, factor: float
) -> None:
    fitness = assess(observe(good.astype(np.float32) * np.float32(factor)), sample)
    assert fitness.verdict is Verdict.UNFIT
    assert fitness.score.value < 0.2


def test_another_layout_moves_no_range_and_is_seen(observe: Observe, good: Pixels, sample: Calibration) -> None:
    fitness = assess(observe(normalise(good.transpose(0, 1, 3, 2))), sample)
    assert fitness.verdict is not Verdict.FIT
    assert fitness.shift_p <= 0.001


def test_swapped_channels_move_no_range_and_are_seen(
    observe_colour: Observe, images: tuple[Pixels, NDArray[np.int64]]
) -> None:
    rng = np.random.default_rng(2)
    lights = TINTS + rng.normal(0, 0.3, (300, 3)).astype(np.float32)
    coloured = normalise(images[0][:300]) * lights[:, :, np.newaxis, np.newaxis]
    sample = observe_colour(coloured[100:])
    assert assess(observe_colour(coloured[:100]), sample).verdict is Verdict.FIT
    fitness = assess(observe_colour(np.ascontiguousarray(coloured[:100, ::-1])), sample)
    assert fitness.verdict is not Verdict.FIT
    assert "colour:" in " ".join(fitness.reasons)


def test_one_class_only_is_seen(
    observe: Observe, images: tuple[Pixels, NDArray[np.int64]], sample: Calibration
) -> None:
    shirts = images[0][200:][images[1][200:] == SHIRTS]
    assert assess(observe(normalise(shirts[:100])), sample).verdict is not Verdict.FIT


def darken(pixels: Pixels) -> Pixels:
    return (pixels * 0.25).astype(np.uint8)


def blur(pixels: Pixels) -> Pixels:
    blurred = [Image.fromarray(item[0]).filter(ImageFilter.GaussianBlur(1)) for item in pixels]
    return np.stack([np.asarray(item)[np.newaxis] for item in blurred])


def compress(pixels: Pixels) -> Pixels:
    def recode(item: Pixels) -> Pixels:
        buffer = io.BytesIO()
        Image.fromarray(item[0]).save(buffer, "JPEG", quality=10)
        return np.asarray(Image.open(io.BytesIO(buffer.getvalue())))[np.newaxis]

    return np.stack([recode(item) for item in pixels])


@pytest.mark.parametrize("degrade", [darken, blur, compress])
def test_clean_items_are_doubted_for_degraded_production(
    observe: Observe, good: Pixels, images: tuple[Pixels, NDArray[np.int64]], degrade: Callable[[Pixels], Pixels]
) -> None:
    production = observe(normalise(degrade(images[0][:200])))
    assert assess(observe(normalise(good)), production).verdict is not Verdict.FIT


def test_ten_items_are_too_few(observe: Observe, good: Pixels, sample: Calibration) -> None:
    fitness = assess(observe(normalise(good[:10])), sample)
    assert fitness.verdict is not Verdict.FIT
    assert "too small to tell: 10 items" in " ".join(fitness.reasons)


def test_the_same_item_over_and_over_is_named(observe: Observe, good: Pixels, sample: Calibration) -> None:
    fitness = assess(observe(normalise(good[5:6].repeat(100, axis=0))), sample)
    assert fitness.verdict is not Verdict.FIT
    assert fitness.distinct_items == 1
    assert [item.reason for item in fitness.items] == ["is there 100 times"]


def enlarge(inputs: Values, item: int) -> None:
    inputs[item] *= 1000


def spoil_a_value(inputs: Values, item: int) -> None:
    inputs[item].flat[0] = 1e4


@pytest.mark.parametrize("spoil", [enlarge, spoil_a_value])
def test_one_outlying_item_is_unfit_and_named(
    observe: Observe, good: Pixels, sample: Calibration, spoil: Callable[[Values, int], None]
) -> None:
    inputs = normalise(good)
    spoil(inputs, 37)
    fitness = assess(observe(inputs), sample)
    assert fitness.verdict is Verdict.UNFIT
    assert [item.position for item in fitness.items] == [37]
    assert "item 37 reaches" in fitness.reasons[0]

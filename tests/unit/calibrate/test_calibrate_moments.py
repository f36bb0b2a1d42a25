import numpy as np
import pytest
from graph_samples import fill, run
from numpy.typing import NDArray
from quantize_samples import HEADER

from assay.calibrate.moments import MomentsBuilder, cut_patches, merge_moments, observe_moments, spread
from assay.core.errors import DataError
from assay.core.moments import AutoPad, LayerInput, Window
from assay.core.session import Batch
from assay.core.tensor import Array, Feeds, Outputs

Floats = NDArray[np.float32]


class Items:
    """A data set of one array."""

    fingerprint = "items"
    labelled = False

    def __init__(self, values: Floats) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def batches(self, size: int):  # noqa: ANN201 - a generator of batches
        for start in range(0, len(self._values), size):
            yield Batch({"x": self._values[start : start + size]}, None, start)


class Doubles:
    """A session that doubles its input."""

    def run(self, feeds: Feeds) -> Outputs:
        return {"y": 2 * np.asarray(feeds["x"], np.float32)}


def draw(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


CONVOLUTIONS = [
    ("kernel_shape = [3, 3]", (4, 6, 3, 3), 1),
    ("kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]", (4, 6, 3, 3), 1),
    ("kernel_shape = [3, 2], pads = [2, 0, 1, 1], dilations = [2, 1]", (4, 6, 3, 2), 1),
    ("kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 3", (9, 2, 3, 3), 3),
    ('kernel_shape = [3, 3], auto_pad = "SAME_UPPER", strides = [2, 2]', (4, 6, 3, 3), 1),
    ('kernel_shape = [4, 3], auto_pad = "SAME_LOWER", strides = [2, 1]', (4, 6, 4, 3), 1),
    ('kernel_shape = [3, 3], auto_pad = "VALID"', (4, 6, 3, 3), 1),
]


@pytest.mark.parametrize(("attributes", "shape", "groups"), CONVOLUTIONS)
def test_patches_are_what_a_convolution_multiplies(attributes: str, shape: tuple[int, ...], groups: int) -> None:
    text = f"{HEADER} g (float[N, 6, 9, 10] x) => (float[N, C, A, B] y) {{ y = Conv<{attributes}>(x, w) }}"
    model = fill(text, np.random.default_rng(0), w=shape)
    node = model.graph.node(0)
    window = Window(
        tuple(shape[2:]),
        tuple(node.attributes.get_ints("strides") or (1, 1)),
        tuple(node.attributes.get_ints("dilations") or (1, 1)),
        tuple(node.attributes.get_ints("pads") or (0, 0, 0, 0)),
        AutoPad(node.attributes.get_string("auto_pad") or "NOTSET"),
    )
    x = draw(2, 6, 9, 10)
    y = run(model, {"x": x})[0]
    patches = cut_patches(x, window, groups, 1000, 0)
    weight = model.graph.initializers["w"].const_value
    assert weight is not None
    matrix = weight.numpy().reshape(groups, shape[0] // groups, -1)
    product = np.einsum("gnk,grk->grn", patches, matrix).reshape(shape[0], 2, -1).transpose(1, 0, 2)
    np.testing.assert_allclose(product.reshape(y.shape), y, rtol=1e-4, atol=1e-4)


def test_a_convolution_in_one_dimension() -> None:
    x = draw(3, 2, 7)
    patches = cut_patches(x, Window((3,), (1,), (1,), (1, 1)), 1, 100, 0)
    assert patches.shape == (1, 21, 6)
    np.testing.assert_array_equal(patches[0, 8], x[1, :, :3].reshape(-1))
    assert not patches[0, 7, [0, 3]].any()


def test_moments_are_exact_where_every_position_is_taken() -> None:
    x = draw(5, 4, 3)
    builder = MomentsBuilder(LayerInput("m", "x", 3), 5)
    builder.add(x[:2], 0, 2)
    builder.add(x[2:], 2, 3)
    moments = builder.build()
    rows = x.reshape(-1, 3).astype(np.float64)
    assert moments.count == 20
    np.testing.assert_allclose(moments.gram[0], rows.T @ rows, rtol=1e-5)
    np.testing.assert_allclose(moments.total[0], rows.sum(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(moments.mean[0], rows.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_nothing_observed_has_no_mean() -> None:
    with pytest.raises(ZeroDivisionError):
        _ = MomentsBuilder(LayerInput("m", "x", 3), 5).build().mean


def test_of_many_positions_a_fair_sample_is_taken() -> None:
    x = draw(100, 500, 4) * [1, 2, 3, 4]
    builder = MomentsBuilder(LayerInput("m", "x", 4), 100)
    for item in range(100):
        builder.add(x[item : item + 1], item, 1)
    moments = builder.build()
    assert 2048 <= moments.count < 2200
    np.testing.assert_allclose(moments.gram[0] / moments.count, np.diag([1, 4, 9, 16]), atol=0.7)


def test_batches_do_not_change_what_is_sampled() -> None:
    x = draw(12, 3, 40, 40)
    layer = LayerInput("c", "x", 27, 1, Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)))
    grams = []
    for size in (1, 5, 12):
        builder = MomentsBuilder(layer, 12)
        for start in range(0, 12, size):
            builder.add(x[start : start + size], start, len(x[start : start + size]))
        grams.append(builder.build())
    for other in grams[1:]:
        assert other.count == grams[0].count < 12 * 1600
        np.testing.assert_allclose(other.gram, grams[0].gram, rtol=1e-4, atol=1e-2)


def test_vectors_that_are_not_finite_are_left_out() -> None:
    x = draw(6, 3)
    x[2, 1] = np.nan
    builder = MomentsBuilder(LayerInput("m", "x", 3), 6)
    builder.add(x, 0, 6)
    assert builder.build().count == 5
    assert np.isfinite(builder.build().gram).all()


def test_a_spread_is_even_and_continues() -> None:
    assert spread(3, 10, 10).tolist() == list(range(10))
    taken = np.concatenate([spread(start, 8, 100) for start in range(0, 80, 8)])
    assert np.histogram(taken, bins=10, range=(0, 100))[0].min() >= 7
    assert taken.max() < 100


def test_moments_merge() -> None:
    x = draw(8, 3)
    parts = []
    for part in (x[:3], x[3:]):
        builder = MomentsBuilder(LayerInput("m", "x", 3), 8)
        builder.add(part, 0, len(part))
        parts.append(builder.build())
    merged = merge_moments(parts)
    assert merged.count == 8
    np.testing.assert_allclose(merged.gram[0], x.T @ x, rtol=1e-5)
    with pytest.raises(ValueError, match="nothing"):
        merge_moments([])


def test_layers_that_read_the_same_vectors_share_their_moments() -> None:
    told: list[int] = []
    layers = [LayerInput("a", "y", 3), LayerInput("b", "y", 3), LayerInput("c", "x", 3)]
    found = observe_moments(Doubles(), Items(draw(7, 3)), layers, 2, told.append)  # type: ignore[arg-type] # all it needs
    assert told == [2, 4, 6, 7]
    assert found["a"] is found["b"]
    np.testing.assert_allclose(found["a"].gram, 4 * found["c"].gram, rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "layer", "words"),
    [
        (draw(4, 3), LayerInput("m", "x", 5), "does not fit layer 'm'"),
        (draw(4, 3), LayerInput("m", "z", 3), "'z' cannot be observed"),
        (draw(4, 3, 8, 8), LayerInput("m", "x", 5, 1, Window((1, 1), (1, 1), (1, 1), (0,) * 4)), "does not fit"),
        (draw(0, 3), LayerInput("m", "x", 3), "no items"),
    ],
)
def test_what_cannot_be_observed_is_named(values: Array, layer: LayerInput, words: str) -> None:
    with pytest.raises(DataError, match=words):
        observe_moments(Doubles(), Items(values), [layer], 2)  # type: ignore[arg-type] # all it needs

from dataclasses import replace

import numpy as np
import pytest
from fitness_samples import LEAST_SQUARES, MIN_MAX, SYMMETRIC, Values, observe_items

from assay.calibrate.fitness.judge import judge
from assay.core.calibration import Calibration
from assay.core.errors import DataError
from assay.core.fitness import Fitness, Verdict
from assay.core.plan import Scheme
from assay.core.precision import RangeMethod


def draw(seed: int, items: int = 100, scale: float = 1.0) -> dict[str, Values]:
    """An input whose items vary in mean and contrast, and what a layer with a ReLU makes of it."""
    rng = np.random.default_rng(seed)
    contrast = rng.uniform(0.5, 1.5, (items, 1))
    values = scale * (contrast * rng.normal(0, 1, (items, 256)) + rng.normal(0, 0.3, (items, 1)))
    return {"image": values.astype(np.float32), "relu": np.maximum(values * 3, 0).astype(np.float32)}


def assess(calibration: dict[str, Values], sample: dict[str, Values], scheme: Scheme = LEAST_SQUARES) -> Fitness:
    return judge(observe_items(calibration), observe_items(sample), scheme, np.random.default_rng(0))


SAMPLE = draw(0, 300)


@pytest.mark.parametrize("scheme", [LEAST_SQUARES, MIN_MAX, SYMMETRIC])
def test_items_drawn_alike_fit(scheme: Scheme) -> None:
    fitness = assess(draw(1), SAMPLE, scheme)
    assert (fitness.verdict, fitness.reasons, fitness.items) == (Verdict.FIT, (), ())
    assert fitness.score.value > 0.85
    assert (fitness.calibration_items, fitness.distinct_items, fitness.sample_items) == (100, 100, 300)


def test_a_set_fits_itself_without_any_excess() -> None:
    fitness = assess(SAMPLE, SAMPLE)
    assert (fitness.verdict, fitness.score.value, fitness.shift_p) == (Verdict.FIT, 1.0, 1.0)
    for tensor in fitness.tensors:
        assert (tensor.excess_noise_db.value, tensor.distance.value) == (0.0, 0.0)


@pytest.mark.parametrize("factor", [255.0, 1 / 255])
def test_values_of_another_scale_are_unfit(factor: float) -> None:
    fitness = assess(draw(1, scale=factor), SAMPLE)
    assert fitness.verdict is Verdict.UNFIT
    assert fitness.score.high is not None
    assert fitness.score.high < 0.2
    assert "dB more quantization noise" in fitness.reasons[0]
    assert fitness.items == ()


def test_a_wide_range_is_unused_and_a_narrow_one_clips() -> None:
    wide, narrow = (assess(draw(1, scale=factor), SAMPLE, MIN_MAX).tensors[0] for factor in (20.0, 1 / 20))
    assert wide.unused.value == pytest.approx(0.95, abs=0.02)
    assert wide.clip_rate.value == 0.0
    assert narrow.unused.value == 0.0
    beyond = np.abs(SAMPLE[narrow.tensor]) > np.abs(draw(1, scale=1 / 20)[narrow.tensor]).max()
    assert narrow.clip_rate.value == pytest.approx(beyond.mean(), abs=0.02)


def test_an_outlying_item_is_unfit_and_named() -> None:
    tensors = draw(1)
    for values in tensors.values():
        values[37] *= 1000
    fitness = assess(tensors, SAMPLE)
    assert fitness.verdict is Verdict.UNFIT
    assert [item.position for item in fitness.items] == [37]
    assert "item 37 reaches" in fitness.reasons[0]
    assert "in 2 of 2 tensors" in fitness.items[0].reason


def test_an_outlying_item_that_a_solver_ignores_is_still_doubted() -> None:
    tensors = draw(1)
    tensors["image"][37, 0] = 30.0
    fitness = assess(tensors, SAMPLE, replace(MIN_MAX, ranges=RangeMethod.PERCENTILE))
    assert fitness.verdict is Verdict.DOUBTFUL
    assert [item.position for item in fitness.items] == [37]


def test_items_that_move_no_range_are_seen_to_differ() -> None:
    shifted = draw(1)
    shifted["image"] = np.abs(shifted["image"]) * np.sign(draw(2)["image"])
    shifted["image"][:, :64] = np.abs(shifted["image"][:, :64])
    fitness = assess(shifted, SAMPLE)
    assert fitness.verdict is Verdict.DOUBTFUL
    assert fitness.shift_p <= 0.001
    assert "image:mean lies higher" in fitness.reasons[-1]


def test_items_that_vary_less_are_seen_to_differ() -> None:
    alike = draw(1)
    flat = alike["image"] - alike["image"].mean(axis=1, keepdims=True)
    alike["image"] = flat / flat.std(axis=1, keepdims=True)
    fitness = assess(alike, SAMPLE)
    assert fitness.verdict is Verdict.DOUBTFUL
    assert "varies less from item to item" in fitness.reasons[-1]


def test_ten_items_are_too_few_to_tell() -> None:
    fitness = assess(draw(1, 10), SAMPLE, MIN_MAX)
    assert fitness.verdict is Verdict.DOUBTFUL
    assert "10 items; up to 26% of further items may lie beyond" in fitness.reasons[-1]


def test_copies_of_one_item_count_once() -> None:
    tensors = {name: values[:1].repeat(100, axis=0) for name, values in draw(1).items()}
    fitness = assess(tensors, SAMPLE)
    assert fitness.verdict is not Verdict.FIT
    assert (fitness.calibration_items, fitness.distinct_items) == (100, 1)
    assert [(item.position, item.reason) for item in fitness.items] == [(0, "is there 100 times")]
    assert "100 items, 1 of them different; up to 95%" in fitness.reasons[-1]


def test_copies_beside_enough_others_are_no_fault() -> None:
    tensors = {name: np.concatenate([values, values[:1].repeat(80, axis=0)]) for name, values in draw(1).items()}
    fitness = assess(tensors, SAMPLE)
    assert (fitness.verdict, fitness.distinct_items, fitness.items) == (Verdict.FIT, 100, ())


def test_a_small_sample_tells_nothing() -> None:
    fitness = assess(draw(1), draw(0, 5))
    assert fitness.verdict is Verdict.DOUBTFUL
    assert "The sample is too small to tell" in fitness.reasons[-1]


def test_a_sample_of_one_item_gives_no_bounds() -> None:
    fitness = assess(draw(1), draw(0, 1))
    assert (fitness.score.low, fitness.score.high) == (None, None)
    assert fitness.verdict is Verdict.DOUBTFUL


def test_the_worst_tensor_comes_first() -> None:
    tensors = draw(1)
    tensors["relu"] = tensors["relu"] * 50
    fitness = assess(tensors, SAMPLE)
    assert [tensor.tensor for tensor in fitness.tensors] == ["relu", "image"]
    assert "100% of it in 'relu'" in fitness.reasons[0]


def test_a_single_lost_tensor_is_unfit_where_the_sum_hides_it() -> None:
    rng = np.random.default_rng(5)
    coarse = [rng.uniform(-0.1, 0.1, (items, 256)).astype(np.float32) for items in (100, 300)]
    for values in coarse:
        values[0, 0] = 100.0
    calibration, sample = {**draw(1), "coarse": coarse[0]}, {**SAMPLE, "coarse": coarse[1]}
    calibration["relu"] = calibration["relu"] * 10
    fitness = assess(calibration, sample, MIN_MAX)
    assert fitness.verdict is Verdict.UNFIT
    assert fitness.score.high is not None
    assert 0.4 < fitness.score.high < 0.5
    assert fitness.reasons[0].startswith("Ranges from this set spoil 1 tensor")
    assert "in 'relu', where 0% of the values are clipped and 88% of the range is never used" in fitness.reasons[0]


def test_tensors_that_stay_floats_are_left_out() -> None:
    mask = np.zeros((100, 4), np.float32)
    mask[:, 0] = -np.inf
    zeros = np.zeros((300, 4), np.float32)
    sample = {**SAMPLE, "mask": np.concatenate([mask, mask, mask]), "zeros": zeros}
    fitness = assess({**draw(1), "mask": mask, "zeros": zeros[:100]}, sample)
    assert {tensor.tensor for tensor in fitness.tensors} == {"image", "relu"}


def test_a_tensor_that_was_always_zero_and_is_no_more_is_lost() -> None:
    fitness = assess({**draw(1), "relu": np.zeros((100, 256), np.float32)}, SAMPLE)
    assert fitness.verdict is Verdict.UNFIT
    assert fitness.tensors[0].tensor == "relu"


def test_tensors_without_groups_count_without_bounds() -> None:
    first, second = observe_items(draw(1)), observe_items(SAMPLE)
    fitness = judge(_drop_groups(first), _drop_groups(second), LEAST_SQUARES, np.random.default_rng(0))
    whole = judge(first, second, LEAST_SQUARES, np.random.default_rng(0))
    by_name = {tensor.tensor: tensor for tensor in fitness.tensors}
    assert by_name["relu"].excess_noise_db.low is None
    assert by_name["relu"].excess_noise_db.value == {t.tensor: t for t in whole.tensors}["relu"].excess_noise_db.value
    assert fitness.score.value == whole.score.value
    assert fitness.score.low is not None


def _drop_groups(calibration: Calibration) -> Calibration:
    tensors = {**calibration.tensors, "relu": replace(calibration.tensors["relu"], groups=None)}
    return replace(calibration, tensors=tensors)


def test_sets_of_different_models_are_refused() -> None:
    with pytest.raises(DataError, match="share no observed tensor"):
        assess({"other": SAMPLE["image"]}, SAMPLE)


def test_statistics_without_items_are_refused() -> None:
    known = observe_items(SAMPLE)
    with pytest.raises(DataError, match="nothing of single items"):
        judge(replace(known, sketch=None), known, LEAST_SQUARES, np.random.default_rng(0))

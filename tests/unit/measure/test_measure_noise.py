import math

import numpy as np
import pytest

from assay.core.errors import MeasurementError
from assay.core.sensitivity import Damage
from assay.core.session import Metric, Scores
from assay.measure.noise import NoiseMeter, measure_loss

TOP1 = Metric("top1", higher_is_better=True, labelled=True)


def measure(reference: list[float], variant: list[float]) -> float:
    meter = NoiseMeter()
    meter.add({"y": np.array(reference, np.float32)}, {"y": np.array(variant, np.float32)})
    return meter.noise


def test_noise_is_power_of_the_error_over_power_of_the_signal() -> None:
    assert measure([3, 4], [3, 4.5]) == pytest.approx(0.01)
    assert measure([3, 4], [3, 4]) == 0


def test_batches_add_up_and_outputs_count_alike() -> None:
    meter = NoiseMeter()
    meter.add(
        {"a": np.ones(2, np.float32), "b": np.full(1, 10.0)}, {"a": np.zeros(2, np.float32), "b": np.full(1, 10.0)}
    )
    meter.add(
        {"a": np.ones(2, np.float32), "b": np.full(1, 10.0)}, {"a": np.ones(2, np.float32), "b": np.full(1, 10.0)}
    )
    assert meter.noise == pytest.approx((0.5 + 0) / 2)


def test_a_value_lost_to_nan_is_infinite_noise_and_one_that_never_was_does_not_count() -> None:
    assert math.isinf(measure([1, 2], [1, np.nan]))
    assert measure([1, np.inf], [1, np.nan]) == 0


def test_outputs_of_another_shape_are_lost_and_integers_do_not_count() -> None:
    meter = NoiseMeter()
    meter.add({"y": np.ones((2, 3)), "n": np.array([1])}, {"y": np.ones((1, 3)), "n": np.array([7])})
    assert meter.noise == 1


def test_without_a_signal_there_is_no_noise_to_tell() -> None:
    with pytest.raises(MeasurementError):
        measure([0, 0], [1, 1])
    with pytest.raises(MeasurementError):
        _ = NoiseMeter().noise


def scores(predictions: list[int], certainty: list[float] | None, metric: list[float] | None = None) -> Scores:
    return Scores(
        metrics={} if metric is None else {"top1": np.array(metric)},
        predictions=np.array(predictions),
        certainty=None if certainty is None else np.array(certainty),
    )


def test_loss_is_how_far_the_probability_of_the_reference_s_answer_moved() -> None:
    assert measure_loss(scores([1, 2], [0.9, 0.6]), scores([1, 2], [0.8, 0.7]), TOP1) == pytest.approx(0.1)
    # Its answer can have at most what the new one leaves: 0.9 -> 0.2.
    assert measure_loss(scores([1], [0.9]), scores([3], [0.8]), TOP1) == pytest.approx(0.7)
    # A flip between near equals is nearly no loss.
    assert measure_loss(scores([1], [0.41]), scores([3], [0.42]), TOP1) == pytest.approx(0.0)


def test_loss_is_of_item_scores_where_they_are_more_than_right_or_wrong() -> None:
    before, after = scores([1, 1], [0.9, 0.9], [0.5, 1.0]), scores([1, 1], [0.1, 0.1], [0.25, 1.0])
    assert measure_loss(before, after, TOP1) == pytest.approx(0.125)
    coarse = measure_loss(scores([1], [0.9], [1.0]), scores([1], [0.8], [1.0]), TOP1)
    assert coarse == pytest.approx(0.1)
    assert measure_loss(scores([1], None, [1.0]), scores([1], None, [0.0]), TOP1) == 1
    assert measure_loss(scores([1], None), scores([2], None), TOP1) is None


def test_decibels() -> None:
    assert Damage(0.01, None).sqnr_db == pytest.approx(20)
    assert Damage(0.0, None).sqnr_db == math.inf
    assert Damage(math.inf, None).sqnr_db == -math.inf

from __future__ import annotations

import math

import numpy as np
import pytest

from assay.core.mixing import Boundary
from assay.decide.risks import fit_noises, list_touching

BOUNDARIES = (
    Boundary(None, (0,), 10),
    Boundary(0, (1, 3), 10),
    Boundary(1, (2,), 10),
    Boundary(2, (3,), 10),
)


def list_settings(groups: int) -> np.ndarray:
    alone = np.eye(groups, dtype=np.bool_)
    return np.vstack([alone, np.tril(np.ones((groups, groups), np.bool_))[1:]])


def test_groups_and_shared_tensors_are_told_apart() -> None:
    own, shared = np.array([1.0, 0.2, 0.5, 3.0]), np.array([0.0, 0.8, 0.4, 0.6])
    touching = list_touching(BOUNDARIES, 4)

    def measure(setting: np.ndarray) -> float:
        return float(own[setting].sum() + shared[(touching & setting).any(axis=1)].sum())

    settings = list_settings(4)
    model = fit_noises(settings, np.array([measure(one) for one in settings]), BOUNDARIES)
    for quantized in ([0, 2], [1, 3], [0, 1, 3], [0, 1, 2, 3], []):
        setting = np.isin(np.arange(4), quantized)
        assert model.predict(setting) == pytest.approx(measure(setting), rel=0.06, abs=1e-9)
    # Were they added up, two neighbours would have the tensor between them twice.
    assert model.predict(np.array([True, True, False, False])) < measure(settings[0]) + measure(settings[1]) - 0.5


def test_a_group_that_breaks_the_model_alone_is_infinite() -> None:
    settings = list_settings(3)
    noises = np.array([0.1, math.inf, 0.2, math.inf, math.inf])
    model = fit_noises(settings, noises, ())
    assert math.isinf(model.groups[1])
    assert model.groups[0] == pytest.approx(0.1, rel=0.01)
    assert math.isinf(model.predict(np.array([False, True, False])))


def test_nothing_is_negative_however_errors_cancel() -> None:
    settings = list_settings(3)
    model = fit_noises(settings, np.array([1.0, 1.0, 1.0, 0.4, 0.5]), (Boundary(0, (1,), 4),))
    assert (model.groups >= 0).all()
    assert (model.shared >= 0).all()


def test_a_form_without_any_noise_has_none() -> None:
    settings = list_settings(2)
    model = fit_noises(settings, np.zeros(len(settings)), ())
    assert model.predict(np.ones(2, np.bool_)) == 0.0

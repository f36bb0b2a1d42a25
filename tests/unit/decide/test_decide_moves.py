from __future__ import annotations

import itertools

import numpy as np

from assay.core.mixing import CostTable
from assay.core.precision import Precision
from assay.decide.knapsack import Knapsack
from assay.decide.moves import list_moves, list_quieter
from assay.decide.risks import NoiseModel

INT8, FP32 = Precision.INT8, Precision.FP32


def make_sack(groups: int) -> Knapsack:
    rng = np.random.default_rng(groups)
    times = tuple({INT8: 1.0, FP32: float(rng.uniform(0.9, 3))} for _ in range(groups))
    noises = NoiseModel(rng.uniform(0.1, 1, groups), np.zeros(0), np.zeros((0, groups), np.bool_))
    return Knapsack(CostTable(times, (), 0.0, 0.0), noises, {})


def test_every_faster_neighbour_is_found() -> None:
    sack = make_sack(6)
    mix = (INT8, FP32, FP32, INT8, FP32, INT8)
    near = [
        other
        for other in itertools.product((INT8, FP32), repeat=6)
        if 0 < sum(one is not two for one, two in zip(mix, other, strict=True)) <= 2
        and sum(one is FP32 and two is INT8 for one, two in zip(mix, other, strict=True)) == 1
        and sack.predict_ms(other) < sack.predict_ms(mix)
    ]
    moves = list_moves(sack, mix, 1000)
    assert set(moves) == set(near)
    assert len(moves) > 3
    assert list_moves(sack, mix, 2) == moves[:2]


def test_those_that_nothing_beats_come_first() -> None:
    sack = make_sack(6)
    moves = list_moves(sack, (INT8, FP32, FP32, INT8, FP32, INT8), 1000)
    points = [(sack.predict_noise(other), sack.predict_ms(other)) for other in moves]
    front = [one for one in points if not any(a <= one[0] and b <= one[1] and (a, b) != one for a, b in points)]
    assert points[: len(front)] == sorted(front)
    assert 1 < len(front) < len(points)


def test_what_is_all_in_integers_has_no_faster_neighbour() -> None:
    assert not list_moves(make_sack(4), (INT8,) * 4, 10)


def test_one_group_more_stays_in_floats() -> None:
    assert list(list_quieter((INT8, FP32, INT8), (FP32,))) == [(FP32, FP32, INT8), (INT8, FP32, FP32)]
    assert len(list(list_quieter((INT8, INT8), (FP32, Precision.BF16)))) == 4
    assert not list(list_quieter((FP32,), (FP32,)))

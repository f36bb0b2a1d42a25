"""A queue's waits are worth as many independent samples as its busy periods allow."""

from __future__ import annotations

import numpy as np

from assay.measure.scenarios.queue import bound_waits, find_certifiable, propose_rate, simulate_waits
from assay.measure.statistics.dependence import count_by_cycles, count_worth, find_cycles, split_blocks
from assay.measure.statistics.quantile import estimate_quantile


def test_a_busy_period_ends_where_all_is_answered() -> None:
    arrived = np.array([0, 1, 5, 9, 10])
    finished = np.array([2, 4, 9, 12, 11])
    assert find_cycles(arrived, finished).tolist() == [0, 0, 1, 2, 2]


def test_independent_queries_count_in_full_and_copies_once() -> None:
    rng = np.random.default_rng(0)
    hits = rng.random(2000) < 0.1
    alone = count_by_cycles(hits, np.arange(2000))
    copied = count_by_cycles(np.repeat(hits, 4), np.repeat(np.arange(2000), 4))
    assert alone > 1800
    assert 1700 < copied < 2300


def test_few_periods_are_worth_no_more_than_their_number() -> None:
    assert count_worth(np.arange(1000.0), 0.99, np.repeat(np.arange(5), 200)) == 5


def test_waits_are_those_of_theory() -> None:
    rng = np.random.default_rng(1)
    waits = simulate_waits(rng.exponential(2.0, 200_000), rng.exponential(1.0, 200_000))
    # M/M/1 at half load: the time in the system is exponential with rate 1 - 1/2.
    assert abs(float(np.quantile(waits, 0.9)) / (np.log(10) / 0.5) - 1) < 0.05


def test_two_workers_answer_two_at_once() -> None:
    gaps, services = np.array([0.0, 0.0, 0.0]), np.ones(3)
    assert simulate_waits(gaps, services).tolist() == [1, 2, 3]
    assert simulate_waits(gaps, services, workers=2).tolist() == [1, 1, 2]


def test_the_bound_of_a_queue_holds_where_the_naive_one_does_not() -> None:
    rng = np.random.default_rng(2)
    true = -np.log(0.01) / (1 - 0.6)
    wrong = naive = 0
    for _ in range(150):
        gaps = rng.exponential(1 / 0.6, 3000)
        waits = simulate_waits(gaps, rng.exponential(1, 3000))
        bound = bound_waits(gaps, waits, 0.99, 0.95)
        wrong += bound is not None and bound < true
        naive += (estimate_quantile(waits, 0.99, 0.95, "s").high or 0) < true
    assert naive > 30
    assert wrong <= 12


def test_a_rate_is_proposed_that_the_simulation_keeps() -> None:
    rng = np.random.default_rng(3)
    services = np.full(100, 0.001)
    rate = propose_rate(services, 0.99, 0.004, rng)
    assert rate is not None
    waits = simulate_waits(rng.exponential(1 / rate, 100_000), np.full(100_000, 0.001))
    assert 0.7 < float(np.quantile(waits, 0.99)) / 0.004 < 1.3
    assert propose_rate(services, 0.99, 0.0009, rng) is None


def test_a_certifiable_rate_leaves_room() -> None:
    services = np.full(100, 0.001)
    bound = (0.99, 0.99, 0.004)
    certifiable = find_certifiable(services, bound, 10.0, np.random.default_rng(4))
    proposed = propose_rate(services, 0.99, 0.004, np.random.default_rng(4))
    assert certifiable is not None
    assert proposed is not None
    assert 0.3 * proposed < certifiable < proposed
    assert find_certifiable(services, bound, 0.1, np.random.default_rng(4)) is None


def test_blocks_count_bursts_once() -> None:
    rng = np.random.default_rng(5)
    samples = rng.random(5000)
    assert split_blocks(5000)[-1] == 49
    independent = count_by_cycles(samples > np.quantile(samples, 0.99), split_blocks(5000))
    samples[2000:2100] += 1
    bursting = count_by_cycles(samples > np.quantile(samples, 0.99), split_blocks(5000))
    assert independent > 2000
    assert bursting < 200

"""Which draft is built next, among plans whose losses an oracle tells."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from assay.core.mixing import Boundary, CostTable, Mix, MixedBudget
from assay.core.plan import Candidate, Plan
from assay.core.precision import Precision
from assay.decide.knapsack import Knapsack
from assay.decide.mixed import Draft, Exam, Seen, find_factor
from assay.decide.prospects import estimate_chance
from assay.decide.risks import NoiseModel, list_touching
from assay.studies.drafting import Drafter
from assay.studies.mixed_form import MeasuredForm, MixedForm, SettingScore
from assay.studies.prospecting import LEAST_CHANCE, LEAST_SAVING, NEIGHBOURS, Prospector
from assay.studies.workspace import Workspace

INT8, FP32 = Precision.INT8, Precision.FP32
GROUPS = 7
EXAM = Exam(items=4000, z=1.645)
VARIANCE = 0.01
"""Of one item's loss, beside its mean."""
WHOLE, FLOATS = (INT8,) * GROUPS, (FP32,) * GROUPS


class Oracle:
    """A form whose plans lose as the root of their true noise, a little luck besides."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        boundaries = tuple(Boundary(index, (index + 1,), 1000) for index in range(GROUPS - 1))
        times = tuple({INT8: float(rng.uniform(0.5, 1)), FP32: float(rng.uniform(1, 3))} for _ in range(GROUPS))
        noises = NoiseModel(rng.uniform(0.05, 1, GROUPS), np.zeros(GROUPS - 1), list_touching(boundaries, GROUPS))
        self.sack = Knapsack(CostTable(times, boundaries, 0.2, 1e-5), noises, {})
        self.groups = (None,) * GROUPS
        self.base = Candidate("openvino", Plan(INT8))
        self._luck = np.exp(rng.normal(0, 0.05, 2**GROUPS))

    def lose(self, quantized: Sequence[int]) -> float:
        on = np.isin(np.arange(GROUPS), quantized)
        return 0.02 * math.sqrt(self.sack.noises.predict(on)) * float(self._luck[sum(1 << one for one in quantized)])

    def make_sack(self, _measured: MeasuredForm) -> Knapsack:
        return self.sack

    def list_floats(self) -> tuple[Precision, ...]:
        return (FP32,)

    def compose(self, mix: Mix) -> Candidate:
        return Candidate("openvino", Plan(INT8, overrides=tuple((str(i), one) for i, one in enumerate(mix))))

    def score(self, settings: Sequence[tuple[int, ...]], _items: int) -> tuple[SettingScore, ...]:
        losses = [self.lose(one) for one in settings]
        return tuple(SettingScore(one, loss**2, loss, loss, None) for one, loss in zip(settings, losses, strict=True))

    def build(self, mix: Mix, milliseconds: float, margin: float) -> Seen:
        loss = self.lose([index for index, one in enumerate(mix) if one is INT8])
        return Seen(self.compose(mix), milliseconds, loss, VARIANCE * loss, margin, 1000)


class Search:
    """A search over an oracle's plans that has tried nothing yet."""

    def __init__(self, seed: int, share: float = 0.6) -> None:
        self.oracle = Oracle(seed)
        sack = self.oracle.sack
        margin = share * self.oracle.lose(range(GROUPS))
        self.base = replace(
            self.oracle.build(WHOLE, sack.predict_ms(WHOLE), margin), candidate=Candidate("openvino", Plan(INT8))
        )
        floats = Seen(Candidate("openvino", Plan(FP32)), sack.predict_ms(FLOATS), 0.0, 0.0, margin, 1000)
        request = SimpleNamespace(mixed=MixedBudget(seconds=1e6))
        space = cast("Workspace", SimpleNamespace(request=request, split=SimpleNamespace(search=1000)))
        measured = cast("MeasuredForm", SimpleNamespace(item_seconds=1e-3))
        self.drafter = Drafter(space, cast("MixedForm", self.oracle), measured, EXAM, None)
        self.prospector = Prospector(self.drafter, self.base, (self.base, floats), EXAM, None)
        self.built: list[tuple[Seen, Draft]] = [(self.base, self.drafter.everything)]
        self.known: set[Mix] = {WHOLE}

    def step(self) -> Draft | None:
        """Pick and build."""
        limit = self.base.margin / find_factor(self.built, EXAM)
        self.drafter.find(limit, guess=0.3 * self.drafter.everything.noise)
        draft = self.prospector.pick(self.built, self.known)
        if draft is not None:
            self.known.add(draft.mix)
            self.built.append((self.oracle.build(draft.mix, draft.milliseconds, self.base.margin), draft))
        return draft

    def find_best(self) -> float:
        """Time of the fastest plan that was built and holds, over that of the fastest there is."""
        mixes = [mix for mix in itertools.product((INT8, FP32), repeat=GROUPS) if mix not in {WHOLE, FLOATS}]
        holding = [mix for mix in mixes if self.holds(self.oracle.build(mix, 1.0, self.base.margin))]
        optimum = min(map(self.oracle.sack.predict_ms, holding))
        return min(draft.milliseconds for seen, draft in self.built if self.holds(seen)) / optimum

    def holds(self, seen: Seen) -> bool:
        return seen.bound(EXAM.items, EXAM.z) <= seen.margin


def test_few_plans_are_near_the_fastest_of_all() -> None:
    ratios = []
    for seed, share in itertools.product(range(4), (0.4, 0.6, 0.8)):
        search = Search(seed, share)
        for _ in range(6):
            search.step()
        ratios.append(search.find_best())
    # The fastest of all has luck that nothing but trying all could find.
    assert np.median(ratios) < 1.02
    assert max(ratios) < 1.15


def test_no_plan_is_picked_twice_and_all_have_integers() -> None:
    search = Search(2)
    picked = [search.step() for _ in range(6)]
    mixes = [draft.mix for draft in picked if draft is not None]
    assert len(set(mixes)) == len(mixes) == 6
    assert not {WHOLE, FLOATS} & set(mixes)


def test_a_draft_aimed_at_the_tolerance_takes_all_of_it() -> None:
    search = Search(1)
    draft = search.step()
    assert draft is not None
    whole = search.drafter.everything
    assert 0.3 < search.prospector.share(draft, search.built) < 1.3
    assert search.prospector.share(whole, search.built[:1]) == pytest.approx(
        search.base.bound(EXAM.items, EXAM.z) / search.base.margin
    )


def test_nothing_is_picked_where_nothing_can_be_saved() -> None:
    search = Search(3)
    safe = replace(search.base, candidate=Candidate("openvino", Plan(Precision.BF16)), loss=0.0, variance=0.0)
    seen = (search.base, replace(safe, latency_ms=search.base.latency_ms * (1 + LEAST_SAVING / 2)))
    prospector = Prospector(search.drafter, search.base, seen, EXAM, None)
    assert prospector.pick(search.built, search.known) is None


def test_times_that_are_learned_change_what_is_picked() -> None:
    search = Search(0)
    search.step()
    before = {mix: draft.milliseconds for mix, draft in search.drafter.drafts.items()}
    costs = search.drafter.sack.costs
    slow = tuple({**own, FP32: own[FP32] * 3} if index < 3 else own for index, own in enumerate(costs.groups))
    search.drafter.price(replace(costs, groups=slow))
    assert search.drafter.everything.milliseconds == before[WHOLE]
    for mix, draft in search.drafter.drafts.items():
        assert draft.milliseconds == search.drafter.sack.predict_ms(mix)
        assert (draft.milliseconds > before[mix]) == (FP32 in mix[:3])


def test_neighbours_are_drafted_before_a_plan_is_picked() -> None:
    added = []
    for seed in range(4):
        search = Search(seed)
        search.drafter.find(search.base.margin, guess=0.3 * search.drafter.everything.noise)
        before = set(search.drafter.drafts)
        search.prospector.pick(search.built, search.known)
        added.append(len(set(search.drafter.drafts) - before))
    assert max(added) == NEIGHBOURS


def test_what_most_likely_fails_is_not_picked_though_it_would_save_much() -> None:
    search = Search(1)
    search.drafter.find(search.base.margin, guess=0.3 * search.drafter.everything.noise)
    floats = Seen(Candidate("openvino", Plan(FP32)), search.drafter.sack.predict_ms(FLOATS), 0.0, 0.0, 1.0, 1000)
    refused = 0
    for share in np.linspace(0.1, 1.0, 10).tolist():
        base = replace(search.base, margin=search.base.margin * share)
        picked = Prospector(search.drafter, base, (base, floats), EXAM, None).pick((), search.known)
        chances = {
            mix: estimate_chance(draft.loss, draft.variance, draft.error, base.margin, EXAM)
            for mix, draft in search.drafter.drafts.items()
            if mix not in search.known and INT8 in mix
        }
        if picked is not None:
            assert chances[picked.mix] >= LEAST_CHANCE
        else:
            assert max(chances.values()) < LEAST_CHANCE
            savings = [
                chance * (floats.latency_ms - search.drafter.drafts[mix].milliseconds)
                for mix, chance in chances.items()
            ]
            refused += max(savings) > 2 * LEAST_SAVING * base.latency_ms
    assert refused

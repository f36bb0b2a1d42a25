"""Laws of a decision, over made-up trials."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from trial_samples import S8S8, U8S8, make_evidence, make_missing, make_plan, make_quality, make_reference

from assay.core.decision import DecisionStatus
from assay.core.plan import Candidate, Plan
from assay.core.precision import Placement, Precision, RangeMethod
from assay.core.requirements import Bounded, Constraint, Objective, Requirements, Tolerance, ToleranceKind
from assay.core.trial import Evidence, Trial, TrialStatus
from assay.decide.assess import assess, is_model_itself
from assay.decide.conclude import conclude
from assay.decide.finding import Verdict
from assay.decide.propose import Capabilities, ModelTraits, Screened, propose

RUNTIMES = ("onnxruntime", "openvino", "reference")
PLANS = [
    make_plan(Precision.FP32),
    make_plan(Precision.FP16),
    make_plan(Precision.BF16),
    *(make_plan(Precision.INT8, dialect, placement) for dialect in (U8S8, S8S8) for placement in Placement),
]
LIMITS = {
    Bounded.P50: (1.0, 60.0),
    Bounded.P95: (1.0, 60.0),
    Bounded.P99: (1.0, 60.0),
    Bounded.THROUGHPUT: (50.0, 5000.0),
    Bounded.MEMORY: (5e7, 2e8),
    Bounded.SIZE: (1e6, 5e6),
    Bounded.FPS: (10.0, 60.0),
    Bounded.WATTS: (1.0, 60.0),
    Bounded.ENERGY: (1e-3, 1.0),
}


@st.composite
def evidences(draw: st.DrawFn, plan: Plan) -> Evidence:
    precision = draw(st.sampled_from([plan.precision, Precision.FP32]))
    loss = draw(st.sampled_from([-0.2, 0.0, 0.1, 0.3, 0.5, 0.8, 2.0]))
    width = draw(st.sampled_from([0.0, 0.05, 0.2, 1.0]))
    return make_evidence(
        draw(st.sampled_from([1.0, 4.0, 4.05, 4.5, 10.0, 39.0, 40.0, 60.0])),
        draw(st.sampled_from([None, make_quality(loss, width)])),
        precision=precision,
        size_bytes=draw(st.sampled_from([1_000_000, 1_010_000, 4_000_000])),
        memory_bytes=draw(st.sampled_from([60_000_000, 61_000_000, 150_000_000])),
        calls=draw(st.sampled_from([100, 400])),
        spread=draw(st.sampled_from([0.0, 0.01, 0.1])),
    )


@st.composite
def fields(draw: st.DrawFn) -> list[Trial]:
    candidates = draw(
        st.lists(st.builds(Candidate, st.sampled_from(RUNTIMES), st.sampled_from(PLANS)), max_size=9, unique=True)
    )
    trials = [make_reference(runtime="openvino")]
    for candidate in candidates:
        if candidate.id == trials[0].id:
            continue
        if draw(st.integers(0, 4)) == 0:
            trials.append(replace(make_missing(Precision.FP32, "none", "it broke"), candidate=candidate))
        else:
            evidence = draw(evidences(candidate.plan))
            trials.append(Trial(candidate, TrialStatus.OK, evidence=evidence))
    return trials


@st.composite
def requests(draw: st.DrawFn) -> Requirements:
    kind = draw(st.sampled_from(ToleranceKind))
    amount = draw(st.sampled_from([0.0, 0.001, 0.003, 0.005, 0.02]))
    chosen = draw(st.lists(st.sampled_from([*Bounded][3:]), max_size=2, unique=True))
    limits = [(quantity, draw(st.floats(*LIMITS[quantity]))) for quantity in chosen]
    return Requirements(
        Tolerance("top1", kind, amount, f"top1: {amount}"),
        draw(st.sampled_from(Objective)),
        tuple(Constraint(quantity, limit, f"{quantity} {limit:g}") for quantity, limit in limits),
        price_per_hour=1.0,
    )


def loosen(requirements: Requirements, factor: float) -> Requirements:
    constraints = tuple(
        replace(c, limit=c.limit * factor if c.quantity.at_most else c.limit / factor) for c in requirements.constraints
    )
    tolerance = replace(requirements.tolerance, amount=requirements.tolerance.amount * factor)
    return replace(requirements, tolerance=tolerance, constraints=constraints)


def feasible(requirements: Requirements, trials: list[Trial]) -> set[str]:
    assessed = [assess(requirements, trial) for trial in trials]
    return {a.trial.id for a in assessed if a is not None and a.verdict is Verdict.MEETS}


@given(fields(), requests(), st.floats(1.0, 3.0))
def test_a_looser_budget_never_loses_a_feasible_trial(
    trials: list[Trial], requirements: Requirements, factor: float
) -> None:
    assert feasible(requirements, trials) <= feasible(loosen(requirements, factor), trials)


@given(fields(), requests())
def test_the_chosen_one_meets_everything(trials: list[Trial], requirements: Requirements) -> None:
    decision = conclude(requirements, trials)
    assert (decision.status is DecisionStatus.CHOSEN) is (decision.chosen is not None)
    assert (decision.chosen is None) is (decision.best is not None)
    if decision.chosen is not None:
        assert decision.chosen in feasible(requirements, trials)


@given(fields(), requests())
def test_the_chain_ends_in_fp32_and_holds_no_failed_trial(trials: list[Trial], requirements: Requirements) -> None:
    decision = conclude(requirements, trials)
    if decision.chosen is None:
        assert decision.fallbacks == ()
        return
    by_id = {trial.id: trial for trial in trials}
    chain = [by_id[i] for i in (decision.chosen, *decision.fallbacks)]
    assert is_model_itself(chain[-1])
    assert all(trial.status is TrialStatus.OK for trial in chain)
    bits = [trial.candidate.plan.precision.bits for trial in chain]
    assert bits == sorted(bits)
    assert len({trial.id for trial in chain}) == len(chain)


@given(fields(), requests(), st.randoms(use_true_random=False))
def test_the_order_of_the_trials_does_not_matter(
    trials: list[Trial], requirements: Requirements, order: random.Random
) -> None:
    shuffled = list(trials)
    order.shuffle(shuffled)
    assert conclude(requirements, shuffled) == conclude(requirements, trials)


@given(fields(), requests())
def test_none_is_said_only_where_every_trial_is_proven_to_fail(trials: list[Trial], requirements: Requirements) -> None:
    decision = conclude(requirements, trials)
    assessed = [a for trial in trials if (a := assess(requirements, trial)) is not None]
    all_fail = all(a.verdict is Verdict.FAILS for a in assessed)
    assert (decision.status is DecisionStatus.NONE) is all_fail
    assert set(decision.reasons) == {trial.id for trial in trials}
    assert decision.sentence.endswith(".")
    assert "  " not in decision.sentence


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(RUNTIMES), unique=True, min_size=1),
    st.lists(st.sampled_from(Precision), unique=True),
    st.lists(st.sampled_from(RangeMethod), unique=True),
    st.booleans(),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_rounds_end_repeat_nothing_and_respect_what_is_excluded(
    runtimes: list[str],
    precisions: list[Precision],
    ranges: list[RangeMethod],
    convolutions: bool,  # noqa: FBT001 - drawn by Hypothesis
    attention: bool,  # noqa: FBT001 - drawn by Hypothesis
    rng: random.Random,
) -> None:
    capabilities = [Capabilities(name, (U8S8, S8S8), (Precision.BF16, Precision.FP32)) for name in runtimes]
    traits = ModelTraits(convolutions, attention)
    tried: list[Screened] = []
    while fresh := propose(capabilities, traits, precisions, ranges, tried):
        assert fresh == propose(capabilities, traits, precisions, ranges, list(reversed(tried)))
        tried += [Screened(c, rng.choice([None, rng.uniform(1, 50)])) for c in fresh]
        assert len(tried) <= 30 * len(runtimes)
    ids = [screened.candidate.id for screened in tried]
    assert len(ids) == len(set(ids))
    allowed = {*precisions, Precision.FP32}
    plans = [screened.candidate.plan for screened in tried]
    assert all({plan.precision, plan.rest} <= allowed for plan in plans)
    assert sum(plan.precision is Precision.FP32 for plan in plans) == len(runtimes)

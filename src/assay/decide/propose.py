"""Which candidates a study tries next: every form first, then the neighbours of the fastest INT8 form.

Repairs cost nothing when the model serves, but time to build. So the cheap one is part of every INT8 form, and all of
them are tried together where the fastest form of a runtime strains the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from assay.core.plan import Candidate, FloatDialect, FloatScheme, IntegerDialect, Plan, Scheme, WeightScheme
from assay.core.precision import CastStyle, Placement, Precision, RangeMethod, Repair, WeightStyle

HALF_PRECISIONS = (Precision.FP16, Precision.BF16)
WEIGHT_PRECISIONS = (Precision.INT8, Precision.INT4)
FLOAT_RANGES = (RangeMethod.MSE, RangeMethod.MIN_MAX)
"""Range methods of 8-bit floats, the one that is tried first at the front."""
MOST_MENDS = 3
"""Times that guilty nodes are taken out of a form: a fault may hide another one behind it."""
STANDARD_REPAIRS = (Repair.BIAS,)
"""Part of every INT8 form: it needs no inference beyond the calibration."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one runtime can be asked for on the target.

    Attributes:
        name: of the runtime, as in the table of backends.
        dialects: INT8 graphs that it runs as integers, the one expected fastest first.
        rests: formats for what an INT8 plan leaves in floats, the one expected fastest first.
        casts: how it wants FP16 and BF16 plans written; typed where it does not say.
        weights: of INT8 and INT4, schemes without calibration that it executes, the one expected fastest first.
        floats: form of FP8 that it executes; None where it has none.
    """

    name: str
    dialects: tuple[IntegerDialect, ...] = ()
    rests: tuple[Precision, ...] = (Precision.FP32,)
    casts: Mapping[Precision, CastStyle] = field(default_factory=dict)
    weights: Mapping[Precision, tuple[WeightScheme, ...]] = field(default_factory=dict)
    floats: FloatDialect | None = None


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """What of a model decides where quantize/dequantize pairs should stand.

    Attributes:
        has_convolutions: at least one convolution.
        has_attention_or_norms: attention, softmax between products, or layer norms: like a transformer.
            Batch norms do not count: they fold into the convolution before them.
        repairs: those that can change the model at all, and that the user allows, in the order of the enumeration.
        has_tables: at least one embedding table is large enough to be stored in integers.
        has_products: constant weights of matrix products hold most parameters, as in transformers and perceptrons, so
            that storing them in integers is worth trying.
    """

    has_convolutions: bool
    has_attention_or_norms: bool = False
    repairs: tuple[Repair, ...] = ()
    has_tables: bool = False
    has_products: bool = False

    @property
    def standard_repairs(self) -> tuple[Repair, ...]:
        """Repairs of the first round."""
        return tuple(repair for repair in self.repairs if repair in STANDARD_REPAIRS)

    @property
    def placements(self) -> tuple[Placement, ...]:
        """Placements of the first round, the one expected fastest first."""
        if self.has_convolutions and self.has_attention_or_norms:
            return (Placement.CHAIN, Placement.OPERANDS)
        return (Placement.CHAIN,) if self.has_convolutions else (Placement.OPERANDS,)


@dataclass(frozen=True, slots=True)
class Screened:
    """A candidate that was tried.

    Attributes:
        latency_ms: of one call, or None where it could not be built or run.
        strained: the loss seen takes more than half of the tolerance.
        guilty: nodes at which a fault of its outputs begins, and those around them.
    """

    candidate: Candidate
    latency_ms: float | None
    strained: bool = False
    guilty: tuple[str, ...] = ()


def propose(
    capabilities: Sequence[Capabilities],
    traits: ModelTraits,
    precisions: Sequence[Precision],
    ranges: Sequence[RangeMethod],
    tried: Sequence[Screened],
    *,
    hurried: bool = False,
) -> tuple[Candidate, ...]:
    """Candidates to try next, in a fixed order; empty when nothing remains.

    The first round has, for each runtime, FP32, TF32, FP16, BF16, weights in integers where they are most of the
    model, FP8, and INT8 in every dialect, each with the rest that is expected fastest; FP8 is proposed where it is
    named, also to a runtime without it, which says why. Later rounds take each runtime's
    fastest INT8 form and vary the range method and the rest, and, where it is the fastest of all runtimes, the
    placement, until nothing new follows; where that form strains the tolerance, all repairs together are tried on it.
    Of weights in integers and of FP8 the fastest form gets the other rests; where the fastest of a style of weights
    strains the tolerance, it gets a scale for each block of inputs, and loud channels of activations moved into its
    weights. A form with broken outputs is tried again with the guilty nodes in floats.

    Args:
        capabilities: one per runtime, in the order of the trials.
        traits: of the model.
        precisions: what the user allows; FP32 is always tried.
        ranges: range methods that the user allows.
        tried: every candidate tried so far, also those that failed.
        hurried: only what a search over mixed plans begins with: no neighbours, no 16-bit format that the runtime does
            not compute in, and of INT8 the first dialect that runs. What is left out is proposed when asked again
            without it.
    """
    known = {screened.candidate.id for screened in tried}
    allowed = frozenset(precisions) | {Precision.FP32}
    failed = {screened.candidate.id for screened in tried if screened.latency_ms is None} if hurried else None
    first = [c for runtime in capabilities for c in _opening(runtime, traits, allowed, ranges, failed)]
    fresh = _unseen(first, known)
    if fresh:
        return fresh
    later = [candidate for screened in tried for candidate in _mended(screened, tried)]
    if not hurried:
        later += [candidate for runtime in capabilities for candidate in _vary_weights(runtime, allowed, tried)]
        later += [candidate for runtime in capabilities for candidate in _refine_weights(runtime.name, traits, tried)]
        later += [candidate for runtime in capabilities for candidate in _vary_floats(runtime, allowed, ranges, tried)]
    if not ranges or Precision.INT8 not in allowed:
        return _unseen(later, known)
    fastest = _fastest(tried)
    for runtime in () if hurried else capabilities:
        rests = tuple(rest for rest in runtime.rests if rest in allowed)
        later += _neighbours([c for c in first if c.runtime == runtime.name], rests, ranges, tried, fastest)
    fresh = _unseen(later, known)
    return fresh or tuple(c for runtime in capabilities for c in _repaired(runtime.name, traits, tried))


def _unseen(candidates: Sequence[Candidate], known: set[str]) -> tuple[Candidate, ...]:
    """Candidates that are not known, each id once, in order."""
    return tuple({c.id: c for c in reversed(candidates) if c.id not in known}.values())[::-1]


def _opening(
    runtime: Capabilities,
    traits: ModelTraits,
    allowed: frozenset[Precision],
    ranges: Sequence[RangeMethod],
    failed: Collection[str] | None,
) -> Iterator[Candidate]:
    """First round of one runtime.

    Args:
        runtime: and what it can be asked for.
        traits: of the model.
        allowed: precisions.
        ranges: range methods that the user allows.
        failed: of one that is hurried, ids of candidates that did not run; else None.
    """
    yield Candidate(runtime.name, Plan(Precision.FP32))
    if Precision.TF32 in allowed:
        yield Candidate(runtime.name, Plan(Precision.TF32))
    for precision in HALF_PRECISIONS:
        if precision in allowed and (precision in runtime.rests or failed is None):
            cast = runtime.casts.get(precision, CastStyle.TYPED)
            yield Candidate(runtime.name, Plan(precision, cast=cast))
    if traits.has_products:
        yield from _open_weights(runtime, traits, allowed)
    if Precision.FP8 in allowed and ranges:
        yield _open_floats(runtime, allowed, ranges)
    if Precision.INT8 not in allowed or not ranges:
        return
    rest = next((rest for rest in runtime.rests if rest in allowed), Precision.FP32)
    for dialect in runtime.dialects:
        schemes = [
            Scheme(dialect, placement, _preferred(ranges), traits.standard_repairs, traits.has_tables)
            for placement in traits.placements
        ]
        plans = [_with_rest(Plan(Precision.INT8, scheme=scheme), rest, runtime) for scheme in schemes]
        forms = [Candidate(runtime.name, plan) for plan in plans]
        yield from forms
        if failed is not None and not {form.id for form in forms} <= set(failed):
            return


def _with_rest(plan: Plan, rest: Precision, runtime: Capabilities) -> Plan:
    """A plan with integers with another rest, typed where the runtime wants 16-bit floats so."""
    typed = rest in HALF_PRECISIONS and runtime.casts.get(rest) is CastStyle.TYPED
    return replace(plan, rest=rest, cast=CastStyle.TYPED if typed else None)


def _open_floats(runtime: Capabilities, allowed: frozenset[Precision], ranges: Sequence[RangeMethod]) -> Candidate:
    """FP8 on one runtime, with the rest that is expected fastest."""
    rest = next((rest for rest in runtime.rests if rest in allowed), Precision.FP32)
    scheme = FloatScheme(runtime.floats or FloatDialect(), _float_ranges(ranges)[0])
    return Candidate(runtime.name, _with_rest(Plan(Precision.FP8, floats=scheme), rest, runtime))


def _float_ranges(ranges: Sequence[RangeMethod]) -> tuple[RangeMethod, ...]:
    """Range methods of 8-bit floats among those that the user allows; MIN_MAX where he allows only others."""
    return tuple(method for method in FLOAT_RANGES if method in ranges) or (RangeMethod.MIN_MAX,)


def _vary_floats(
    runtime: Capabilities, allowed: frozenset[Precision], ranges: Sequence[RangeMethod], tried: Sequence[Screened]
) -> Iterator[Candidate]:
    """The fastest FP8 form of one runtime with other ranges and other rests."""
    ran = [
        (one.latency_ms, one.candidate.id, one.candidate.plan)
        for one in tried
        if one.candidate.runtime == runtime.name
        and one.candidate.plan.floats is not None
        and one.latency_ms is not None
        and math.isfinite(one.latency_ms)
        and not one.candidate.plan.overrides
    ]
    if not ran:
        return
    plan = min(ran, key=lambda one: one[:2])[2]
    for method in _float_ranges(ranges):
        if plan.floats is not None:
            yield Candidate(runtime.name, replace(plan, floats=replace(plan.floats, ranges=method)))
    for rest in runtime.rests:
        if rest in allowed:
            yield Candidate(runtime.name, _with_rest(plan, rest, runtime))


def _open_weights(runtime: Capabilities, traits: ModelTraits, allowed: frozenset[Precision]) -> Iterator[Candidate]:
    """Every scheme of one runtime that stores weights in integers, with the rest that is expected fastest."""
    rest = next((rest for rest in runtime.rests if rest in allowed), Precision.FP32)
    for precision in WEIGHT_PRECISIONS:
        for scheme in runtime.weights.get(precision, ()) if precision in allowed else ():
            tables = replace(scheme, tables=traits.has_tables)
            yield Candidate(runtime.name, _with_rest(Plan(precision, weights=tables), rest, runtime))


def _vary_weights(
    runtime: Capabilities, allowed: frozenset[Precision], tried: Sequence[Screened]
) -> Iterator[Candidate]:
    """The fastest form of one runtime with weights of a precision, with other rests and with tables in floats."""
    for precision in WEIGHT_PRECISIONS:
        ran = [
            (one.latency_ms, one.candidate.id, one.candidate)
            for one in tried
            if one.candidate.runtime == runtime.name
            and one.candidate.plan.precision is precision
            and one.latency_ms is not None
            and math.isfinite(one.latency_ms)
            and not one.candidate.plan.overrides
        ]
        start = min((one for one in ran if one[2].plan.weights is not None), default=None)
        if start is None:
            continue
        plan = start[2].plan
        for rest in runtime.rests:
            if rest in allowed:
                yield Candidate(runtime.name, _with_rest(plan, rest, runtime))
        if plan.weights is not None and plan.weights.tables:
            yield Candidate(runtime.name, replace(plan, weights=replace(plan.weights, tables=False)))


def _refine_weights(runtime: str, traits: ModelTraits, tried: Sequence[Screened]) -> Iterator[Candidate]:
    """The fastest form of stored weights of each precision and style, where it strains the tolerance, with less noise.

    Weights get a scale for each block that the runtime rounds activations in, which costs it nothing; loud channels
    of activations are smoothed where that can be done.
    """
    plain: dict[tuple[Precision, WeightStyle], list[tuple[float, str, Screened]]] = {}
    for one in tried:
        plan, scheme = one.candidate.plan, one.candidate.plan.weights
        if one.candidate.runtime != runtime or scheme is None or scheme.smooth or plan.overrides:
            continue
        if one.latency_ms is None or (plan.precision is Precision.INT8 and scheme.block):
            continue
        plain.setdefault((plan.precision, scheme.style), []).append((one.latency_ms, one.candidate.id, one))
    for _, _, start in (min(ran, key=lambda one: one[:2]) for ran in plain.values()):
        plan, scheme = start.candidate.plan, start.candidate.plan.weights
        if scheme is None or not start.strained:
            continue
        finer = replace(scheme, block=scheme.block or scheme.group)
        yield Candidate(runtime, replace(plan, weights=finer))
        if Repair.SMOOTH in traits.repairs:
            yield Candidate(runtime, replace(plan, weights=replace(finer, smooth=True)))


def _preferred(ranges: Sequence[RangeMethod]) -> RangeMethod:
    """Range method that is tried first."""
    return RangeMethod.MSE if RangeMethod.MSE in ranges else ranges[0]


def _fastest(tried: Sequence[Screened], runtime: str | None = None) -> Candidate | None:
    """The INT8 form that ran fastest, of one runtime or of all; None where none ran."""
    ran = [
        (screened.latency_ms, screened.candidate.id, screened.candidate)
        for screened in tried
        if screened.latency_ms is not None
        and math.isfinite(screened.latency_ms)
        and runtime in (None, screened.candidate.runtime)
        and screened.candidate.plan.scheme is not None
        and not screened.candidate.plan.overrides
        and set(screened.candidate.plan.scheme.repairs) <= set(STANDARD_REPAIRS)
    ]
    return min(ran, key=lambda one: one[:2])[2] if ran else None


def _neighbours(
    first: Sequence[Candidate],
    rests: Sequence[Precision],
    ranges: Sequence[RangeMethod],
    tried: Sequence[Screened],
    fastest: Candidate | None,
) -> Iterator[Candidate]:
    """The fastest INT8 form of one runtime with other range methods and rests, and in the other placement.

    One with its embedding tables in integers is tried with them in floats, which are read a little faster.

    The other placement is tried where this runtime has the fastest INT8 form of all, and where none of its own ran:
    a runtime that refuses a chain of integers may still take integer operands.
    """
    ours = [c for c in first if c.plan.scheme is not None]
    if not ours:
        return
    runtime = ours[0].runtime
    start = _fastest(tried, runtime)
    if start is not None:
        for method in ranges:
            yield _vary(start, ranges=method)
        for rest in rests:
            yield replace(start, plan=replace(start.plan, rest=rest))
        if start.plan.scheme is not None and start.plan.scheme.tables:
            plain = replace(start.plan.scheme, tables=False)
            yield replace(start, plan=replace(start.plan, scheme=plain))
    if start is None or (fastest is not None and fastest.runtime == runtime):
        for placement in Placement:
            yield _vary(start or ours[0], placement=placement, ranges=_preferred(ranges))


def _repaired(runtime: str, traits: ModelTraits, tried: Sequence[Screened]) -> Iterator[Candidate]:
    """The fastest INT8 form of one runtime with every repair, where it strains the tolerance without them.

    Once for each dialect and placement: other ranges and rests of a repaired form would tell little more.
    """
    start = _fastest(tried, runtime)
    if start is None or start.plan.scheme is None:
        return
    form = (start.plan.scheme.dialect, start.plan.scheme.placement, traits.repairs)
    schemes = [screened.candidate.plan.scheme for screened in tried if screened.candidate.runtime == runtime]
    if any(scheme is not None and (scheme.dialect, scheme.placement, scheme.repairs) == form for scheme in schemes):
        return
    if any(screened.strained for screened in tried if screened.candidate == start):
        yield replace(start, plan=replace(start.plan, scheme=replace(start.plan.scheme, repairs=traits.repairs)))


def _mended(screened: Screened, tried: Sequence[Screened]) -> Iterator[Candidate]:
    """A form whose outputs are broken with the guilty nodes left in floats as well, a few times over."""
    plan = screened.candidate.plan
    plain = replace(screened.candidate, plan=replace(plan, overrides=()))
    mends = [one for one in tried if replace(one.candidate, plan=replace(one.candidate.plan, overrides=())) == plain]
    kept = dict(plan.overrides) | dict.fromkeys(screened.guilty, plan.rest)
    if plan.precision is not plan.rest and len(kept) > len(plan.overrides) and len(mends) <= MOST_MENDS:
        yield replace(screened.candidate, plan=replace(plan, overrides=tuple(sorted(kept.items()))))


def _vary(candidate: Candidate, *, placement: Placement | None = None, ranges: RangeMethod | None = None) -> Candidate:
    """The same candidate in another placement or with another range method."""
    scheme = candidate.plan.scheme
    if scheme is None:
        return candidate
    varied = replace(scheme, placement=placement or scheme.placement, ranges=ranges or scheme.ranges)
    return replace(candidate, plan=replace(candidate.plan, scheme=varied))

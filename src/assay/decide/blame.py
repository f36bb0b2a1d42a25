"""Ranks groups by what they cost the model, and proposes what may mend the worst; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assay.core.plan import Scheme
from assay.core.precision import Precision, RangeMethod, Repair
from assay.core.sensitivity import (
    Blame,
    Damage,
    Mend,
    Proposal,
    Sensitivities,
    Sensitivity,
    TensorFacts,
    WeightFacts,
)

UNEVEN = 4.0
"""Ratio of the widest output channel of a weight to the median one from which one scale for all costs two bits."""
ROUGH = 1e-3
"""Relative noise (30 dB) from which rounding alone is worth another range."""
OUTLIER_REPAIRS = (Repair.SMOOTH, Repair.OUTLIERS, Repair.EQUALISE)
PRODUCTS = frozenset({"MatMul", "Gemm"})


@dataclass(frozen=True, slots=True)
class Offered:
    """What a plan has, and what may be done to it.

    Attributes:
        scheme: of the plan.
        repairs: that can change the model at all.
        floats: formats that the runtime has for what is kept.
    """

    scheme: Scheme
    repairs: tuple[Repair, ...]
    floats: tuple[Precision, ...]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A group's place among the others.

    Attributes:
        rank: 1 for the worst.
        share: of the sum over all groups alone.
    """

    rank: int
    share: float
    sensitivity: Sensitivity
    guilty: bool


def rank_groups(found: Sensitivities) -> tuple[Suspect, ...]:
    """All groups, the worst first: by the loss that each causes alone where the task tells one, else by its noise.

    Guilty are those that cause at least an equal share.
    """
    by_loss = is_by_loss(found)
    ordered = sorted(found.groups, key=lambda one: _weigh(one.alone, by_loss=by_loss), reverse=True)
    weights = [_weigh(one.alone, by_loss=by_loss)[0] for one in ordered]
    shares = [_find_share(weight, sum(weights)) for weight in weights]
    return tuple(
        Suspect(rank, share, one, guilty=share * len(ordered) >= 1 and one.alone.noise > 0)
        for rank, (share, one) in enumerate(zip(shares, ordered, strict=True), 1)
    )


def is_by_loss(found: Sensitivities) -> bool:
    """Whether shares are of the loss; else they are of the noise."""
    return all(one.alone.loss is not None for one in found.groups) and any(one.alone.loss for one in found.groups)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known around a group.

    Attributes:
        together: all groups are quantized.
        kept: all groups but this one; None where that was not measured.
        activations: of the group.
        weights: of the group.
    """

    together: Damage
    kept: Damage | None
    activations: Sequence[TensorFacts]
    weights: Sequence[WeightFacts]


def blame_group(suspect: Suspect, around: Circumstances, offered: Offered) -> Blame:
    """A group with its facts, the noisiest first, and, where it is guilty, what may mend it."""
    tensors = tuple(sorted(around.activations, key=lambda fact: -fact.noise))
    weights = tuple(sorted(around.weights, key=lambda fact: -fact.noise))
    ordered = replace(around, activations=tensors, weights=weights)
    proposals = propose_mends(suspect, ordered, offered) if suspect.guilty else ()
    return Blame(suspect.rank, suspect.share, suspect.sensitivity, around.kept, tensors, weights, proposals)


def _weigh(damage: Damage, *, by_loss: bool) -> tuple[float, float]:
    """What groups are ordered by; the noise decides between equals."""
    return (damage.loss or 0.0, damage.noise) if by_loss else (damage.noise, 0.0)


def _find_share(value: float, total: float) -> float:
    """Share of a sum in which a value may be infinite."""
    if math.isinf(total):
        return 1.0 if math.isinf(value) else 0.0
    return value / total if total > 0 else 0.0


def propose_mends(suspect: Suspect, around: Circumstances, offered: Offered) -> tuple[Proposal, ...]:
    """What may mend a group: first what speaks to the larger of its own errors, at last to keep it in floats.

    Args:
        suspect: the group.
        around: its facts, the noisiest first.
        offered: what can be proposed.
    """
    tensor, weight = next(iter(around.activations), None), next(iter(around.weights), None)
    outlier = next((fact for fact in around.activations if fact.outlying), None)
    by_weight = () if weight is None else _mend_weight(weight, offered)
    by_tensor = () if tensor is None else _mend_activation(tensor, outlier, suspect.sensitivity, offered)
    first = weight is not None and (tensor is None or weight.noise >= tensor.noise)
    mends = (*by_weight, *by_tensor) if first else (*by_tensor, *by_weight)
    return (*mends, _keep(suspect, around, offered))


def _mend_weight(weight: WeightFacts, offered: Offered) -> tuple[Proposal, ...]:
    """For a weight whose rounding costs much."""
    if weight.noise < ROUGH:
        return ()
    lost = f"its weight in eight bits has {_db(weight.noise)}"
    if not weight.per_channel and weight.spread >= UNEVEN:
        reason = (
            f"{lost}: one scale serves all output channels, and the widest reaches {weight.spread:.3g} times the median"
        )
        found = [Proposal(Mend.PER_CHANNEL, "give its weight one scale for each output channel", reason)]
        if Repair.EQUALISE in _untried(offered):
            found.append(
                Proposal(Mend.REPAIR, f"repair with {Repair.EQUALISE}, where the runtime has one scale", reason)
            )
        return tuple(found)
    if Repair.ROUND in _untried(offered):
        return (Proposal(Mend.REPAIR, f"repair with {Repair.ROUND}", lost),)
    return ()


def _mend_activation(
    tensor: TensorFacts, outlier: TensorFacts | None, one: Sensitivity, offered: Offered
) -> tuple[Proposal, ...]:
    """For an activation whose clipping or rounding costs much."""
    found: list[Proposal] = []
    repair = _choose_repair(one, offered)
    if outlier is not None and repair is not None and outlier.noise >= ROUGH:
        reason = (
            f"{outlier.outlying or 0:.1%} of the channels of {outlier.name!r} reach far beyond the others, "
            f"whose values share its one scale"
        )
        found.append(Proposal(Mend.REPAIR, f"repair with {repair}", reason))
    method = offered.scheme.ranges
    if tensor.noise < ROUGH:
        return tuple(found)
    if tensor.clipping > tensor.rounding and method is not RangeMethod.MIN_MAX:
        reason = f"{tensor.clip_rate:.2%} of the values of {tensor.name!r} are clipped, which costs more than rounding"
        found.append(Proposal(Mend.RANGE, f"another range method, such as {RangeMethod.MIN_MAX}", reason))
    elif tensor.clipping > tensor.rounding:
        reason = f"{tensor.clip_rate:.2%} of the values of {tensor.name!r} lie outside everything calibration saw"
        found.append(Proposal(Mend.RANGE, "calibrate with items like these", reason))
    elif tensor.clipping < tensor.rounding and method is RangeMethod.MIN_MAX:
        reason = f"{tensor.name!r} in eight bits has {_db(tensor.noise)}, all of it rounding: its range is wide"
        found.append(Proposal(Mend.RANGE, f"another range method, such as {RangeMethod.MSE}", reason))
    return tuple(found)


def _choose_repair(one: Sensitivity, offered: Offered) -> Repair | None:
    """The repair of outlying channels that fits the group and was not tried."""
    products = not set(one.group.operators).isdisjoint(PRODUCTS)
    fitting = [repair for repair in OUTLIER_REPAIRS if products or repair is not Repair.SMOOTH]
    return next((repair for repair in fitting if repair in _untried(offered)), None)


def _keep(suspect: Suspect, around: Circumstances, offered: Offered) -> Proposal:
    """To leave the group in floats, with its neighbours where that alone was seen to gain nothing."""
    formats = " or ".join(str(precision).upper() for precision in offered.floats)
    alone = suspect.sensitivity.alone.noise
    reason = f"quantized alone it leaves {_db(alone)}, and causes {suspect.share:.0%} of what all groups do"
    if math.isinf(alone):
        reason = "quantized alone it gives values that are not finite"
    if around.kept is None:
        return Proposal(Mend.KEEP, f"keep it in {formats}", reason)
    kept, together = _db(around.kept.noise), _db(around.together.noise)
    reason += f"; with all others quantized the model has {kept}, against {together}"
    if around.kept.noise < around.together.noise:
        return Proposal(Mend.KEEP, f"keep it in {formats}", reason)
    return Proposal(
        Mend.KEEP,
        f"keep it in {formats} together with its neighbours",
        f"{reason}: what it shares with them stays rounded",
    )


def _untried(offered: Offered) -> tuple[Repair, ...]:
    """Repairs that the plan does not have yet."""
    return tuple(repair for repair in offered.repairs if repair not in offered.scheme.repairs)


def _db(noise: float) -> str:
    """A relative noise power in words."""
    if math.isinf(noise):
        return "values that are not finite"
    return f"{Damage(noise, None).sqnr_db:.1f} dB" if noise else "no noise"

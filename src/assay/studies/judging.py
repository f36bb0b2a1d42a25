"""Judging calibration items by other items, before anything is built from them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from assay.backends.table import make_target
from assay.calibrate.fitness.harm import is_judged
from assay.calibrate.fitness.judge import judge
from assay.core.calibration import Calibration
from assay.core.errors import MeasurementError
from assay.core.fitness import Fitness, Verdict
from assay.core.plan import IntegerDialect, Plan, Scheme
from assay.core.precision import IntegerFormat, Precision, RangeMethod
from assay.core.session import Dataset
from assay.data.subset import every
from assay.decide.propose import ModelTraits
from assay.graph.quantize import list_quantized
from assay.studies.calibrating import Calibrator
from assay.studies.set_statistics import ObservedModel, observe_model

SAMPLE_ITEMS = 256
"""Items that the calibration items are held against."""
SEED = 0
"""Of the sample and of the test's permutations: the same question gets the same answer."""


def draw_sample(dataset: Dataset, most: int) -> Dataset:
    """At most so many items, drawn at random, since many sources are sorted by class."""
    if len(dataset) <= most:
        return dataset
    chosen = np.random.default_rng(SEED).choice(len(dataset), most, replace=False)
    return every(dataset, sorted(chosen.tolist()))


def choose_scheme(model: ObservedModel, traits: ModelTraits) -> Scheme:
    """The form of INT8 that the observing runtime is expected to run fastest."""
    dialects = model.backend.dialects(make_target(model.backend.name))
    dialect = dialects[0] if dialects else IntegerDialect(IntegerFormat.U8, symmetric=False)
    return Scheme(dialect, traits.placements[0], RangeMethod.MSE)


def judge_items(model: ObservedModel, traits: ModelTraits, calibration: Calibration, sample: Calibration) -> Fitness:
    """The verdict under the form of INT8 that the observing runtime is expected to run fastest.

    Args:
        model: that gave the statistics.
        traits: of the model.
        calibration: of the items to judge.
        sample: of the items that they are held against.

    Raises:
        DataError: the sets share no tensor with a finite value.
    """
    scheme = choose_scheme(model, traits)
    names = list_quantized(model.prepared, scheme)
    return judge(narrow(calibration, names), narrow(sample, names), scheme, np.random.default_rng(SEED))


def narrow(calibration: Calibration, names: frozenset[str]) -> Calibration:
    """Statistics of the named tensors alone."""
    return replace(calibration, tensors={name: one for name, one in calibration.tensors.items() if name in names})


def judge_study(model: ObservedModel, traits: ModelTraits, calibrator: Calibrator, others: Dataset) -> Fitness | None:
    """Hold the calibration items of a study against other items, or read how that went.

    None where there is nothing to hold against each other: a model without a tensor that carries a range, or fewer
    items than one batch of a model that fixes its batch.

    Args:
        model: whose activations are compared.
        traits: of the model.
        calibrator: observes the items to judge.
        others: evaluation items, or a sample of production.

    Raises:
        DataError: an activation is not finite.
        BackendError: the runtime cannot run the model with its activations exposed.
    """
    name = f"fitness-{hashlib.sha256(others.fingerprint.encode()).hexdigest()[:8]}"
    stored = calibrator.store.read(name, Fitness)
    if stored is not None:
        return stored
    if model.fixed_batch is not None and len(others) < model.fixed_batch:
        calibrator.progress.say("the calibration items are not judged: there are too few items to hold them against")
        return None
    calibration = calibrator.observe().calibration
    sample = observe_model(model, draw_sample(others, SAMPLE_ITEMS), calibrator.progress)
    names = list_quantized(model.prepared, choose_scheme(model, traits)) & set(calibration.tensors)
    if not any(is_judged(calibration.tensors[tensor], sample.tensors[tensor]) for tensor in names):
        calibrator.progress.say("the calibration items are not judged: no tensor of the model carries a range")
        return None
    fitness = judge_items(model, traits, calibration, sample)
    calibrator.store.write(name, fitness)
    return fitness


HINT = "give items like those that are served, or --accept-unfit to go on with these"


def refuse_unfit(fitness: Fitness | None, *, accepted: bool) -> None:
    """Refuse a study that asks for nothing but what calibration items make, where these are known to do harm.

    Raises:
        MeasurementError: they are unfit, and the request does not accept that; with the reasons.
    """
    if find_refusal(fitness, accepted=accepted) and fitness is not None:
        message = "the calibration items are unfit for what they are held against. " + " ".join(fitness.reasons)
        raise MeasurementError(message, HINT)


def find_refusal(fitness: Fitness | None, *, accepted: bool) -> str:
    """Why no form may be built from the calibration items; empty where they may be used.

    Args:
        fitness: of the items; None where they were not judged.
        accepted: the request goes on with unfit ones.
    """
    if fitness is None or fitness.verdict is not Verdict.UNFIT or accepted:
        return ""
    return f"its ranges would come from calibration items that are unfit. {fitness.reasons[0]}"


def needs_items(plan: Plan) -> bool:
    """Whether a plan's codes hang on calibration items: static ranges, or channels moved by how loud they are.

    Wider floats do not: of the statistics they read only which layers would overflow.
    """
    ranged = plan.scheme is not None or plan.floats is not None
    return ranged or (plan.weights is not None and plan.weights.smooth)


def asks_only_calibrated(precisions: Collection[Precision], traits: ModelTraits) -> bool:
    """Whether nothing is left of a request beside FP32 where the calibration items may not be used.

    Args:
        precisions: that the user allows.
        traits: of the model; one with large matrix products has forms in integers that need no items.
    """
    integers = set() if traits.has_products else {Precision.INT8, Precision.INT4}
    return not set(precisions) - {Precision.FP32, Precision.FP8} - integers

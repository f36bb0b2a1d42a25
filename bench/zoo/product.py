"""The INT8 variants of Assay that are measured: what a study tries first, and each range method and repair beside it.

All are made by the product's own pieces, in the order in which a study uses them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import onnx_ir as ir

from assay.backends.table import load_backend
from assay.calibrate.moments import observe_moments
from assay.calibrate.observe import observe
from assay.calibrate.ranges import solve_ranges
from assay.core.calibration import Calibration
from assay.core.moments import LayerMoments
from assay.core.plan import Candidate, IntegerDialect, Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod, Repair
from assay.core.session import Dataset, Session
from assay.core.target import Target
from assay.data.open import open_dataset
from assay.decide.propose import Capabilities, propose
from assay.graph.channels import list_channel_axes
from assay.graph.expose import observable_tensors
from assay.graph.layer_inputs import list_moment_layers
from assay.graph.realise import realise
from assay.graph.repair import RESCALING, list_repairs, repair_model
from assay.graph.save import save_model
from assay.studies.exposing import fit_batch, open_exposed
from assay.studies.request import DEFAULT_RANGES, DEFAULT_RUNTIMES
from assay.studies.subject import load_subject
from zoo.pair import Pair

Read = TypeVar("Read")

PER_TENSOR = "per-tensor"


@dataclass(frozen=True)
class Variant:
    """A candidate with its name in the table.

    Attributes:
        first: a study tries it in its first round.
    """

    name: str
    candidate: Candidate
    first: bool = False


class Product:
    """One pair in Assay's hands; the model is observed once, and anew after every repair that rescales it."""

    def __init__(self, pair: Pair, threads: int) -> None:
        self._pair = pair
        self._threads = threads
        self.subject = load_subject(pair.model)
        self.calibration_data = open_dataset(pair.calibration, self.subject.signature)
        self.evaluation_data = open_dataset(pair.evaluation, self.subject.signature)
        self._traits = replace(self.subject.traits, repairs=list_repairs(self.subject.prepared))
        self._observed: dict[frozenset[Repair], tuple[ir.Model, Calibration]] = {}

    def list_variants(self) -> Iterator[Variant]:
        """First what a study tries first, then one change at a time on the runtimes' first dialects."""
        for candidate in self._opening:
            yield Variant(candidate.id, candidate, first=True)
        possible = self._traits.repairs
        for runtime in DEFAULT_RUNTIMES:
            for place, dialect in enumerate(load_backend(runtime).dialects(self._target(runtime))):
                for method in (RangeMethod.MSE, RangeMethod.MIN_MAX):
                    yield make_variant(runtime, dialect, method, ())
                if place == 0:
                    yield make_variant(runtime, dialect, RangeMethod.BEST, (Repair.BIAS,))
                    for repairs in choose_repairs(possible):
                        yield make_variant(runtime, dialect, RangeMethod.MSE, repairs)
        runtime = DEFAULT_RUNTIMES[0]
        coarse = replace(load_backend(runtime).dialects(self._target(runtime))[0], per_channel=False)
        yield make_variant(runtime, coarse, RangeMethod.MIN_MAX, (), PER_TENSOR)
        for repairs in ((), *choose_repairs(possible)):
            yield make_variant(runtime, coarse, RangeMethod.MSE, repairs, PER_TENSOR)

    @contextmanager
    def open_float(self, runtime: str) -> Iterator[Session]:
        """The prepared model in FP32."""
        plan = Plan(Precision.FP32)
        with self._open(runtime, plan, self.subject.prepared) as session:
            yield session

    @contextmanager
    def open_variant(self, candidate: Candidate) -> Iterator[Session]:
        """A candidate, realised and built as a study does."""
        scheme = candidate.plan.scheme
        if scheme is None:
            raise SystemExit(f"{candidate.id} quantizes nothing")
        model, calibration = self._observe(frozenset(scheme.repairs) & frozenset(RESCALING))
        ranges = solve_ranges(calibration, scheme)
        moments = self._observe_moments(model, candidate.plan)
        realised = realise(model, candidate.plan, calibration, ranges, moments)
        with self._open(candidate.runtime, candidate.plan, realised) as session:
            yield session

    @cached_property
    def _opening(self) -> tuple[Candidate, ...]:
        """INT8 candidates of a study's first round."""
        capabilities = [
            Capabilities(runtime, backend.dialects(target), backend.rests(target))
            for runtime in DEFAULT_RUNTIMES
            for backend, target in [(load_backend(runtime), self._target(runtime))]
        ]
        proposed = propose(capabilities, self._traits, tuple(Precision), DEFAULT_RANGES, ())
        return tuple(candidate for candidate in proposed if candidate.plan.precision is Precision.INT8)

    def _target(self, runtime: str) -> Target:
        return Target(runtime, threads=self._threads, batch=self._pair.batch)

    def _observe(self, repairs: frozenset[Repair]) -> tuple[ir.Model, Calibration]:
        """The model, rescaled by repairs, and its statistics."""
        if repairs not in self._observed:
            model = self.subject.prepared
            if repairs:
                model = repair_model(model, repairs, self._observe(frozenset())[1])
            tensors = observable_tensors(model)

            def read(session: Session, dataset: Dataset, batch: int) -> Calibration:
                return observe(
                    session, dataset, tensors, batch, channels=list_channel_axes(model), threads=self._threads
                )

            self._observed[repairs] = model, self._with_exposed(model, tensors, read)
        return self._observed[repairs]

    def _observe_moments(self, model: ir.Model, plan: Plan) -> Mapping[str, LayerMoments] | None:
        """What adaptive rounding wants to know; nothing for other plans."""
        layers = list_moment_layers(model, plan)
        if not layers:
            return None
        tensors = tuple(dict.fromkeys(layer.tensor for layer in layers))
        return self._with_exposed(
            model, tensors, lambda session, dataset, batch: observe_moments(session, dataset, layers, batch)
        )

    def _with_exposed(
        self, model: ir.Model, tensors: tuple[str, ...], read: Callable[[Session, Dataset, int], Read]
    ) -> Read:
        """What is read off the model's activations over the calibration items."""
        backend = load_backend(DEFAULT_RUNTIMES[0])
        with (
            tempfile.TemporaryDirectory(prefix="assay-bench-") as scratch,
            open_exposed(model, tensors, backend, Path(scratch)) as session,
        ):
            dataset = self.calibration_data
            return read(session, dataset, self.subject.fixed_batch or fit_batch(session, dataset))

    @contextmanager
    def _open(self, runtime: str, plan: Plan, model: ir.Model) -> Iterator[Session]:
        """A realised model, built and opened."""
        backend, target = load_backend(runtime), self._target(runtime)
        with tempfile.TemporaryDirectory(prefix="assay-bench-") as scratch:
            path, built = Path(scratch, "model.onnx"), Path(scratch, "built")
            built.mkdir()
            save_model(model, path)
            backend.build(path, built, plan, target)
            with backend.open(built, target) as session:
                yield session


def choose_repairs(possible: tuple[Repair, ...]) -> Iterator[tuple[Repair, ...]]:
    """Each repair that can change the model alone, two that are cheap, and all together."""
    singles = [(repair,) for repair in possible]
    cheap = tuple(repair for repair in (Repair.EQUALISE, Repair.BIAS) if repair in possible)
    yield from dict.fromkeys([*singles, cheap, possible])


def make_variant(
    runtime: str, dialect: IntegerDialect, method: RangeMethod, repairs: tuple[Repair, ...], mark: str = ""
) -> Variant:
    """A chain of integers with the rest in FP32."""
    candidate = Candidate(runtime, Plan(Precision.INT8, scheme=Scheme(dialect, Placement.CHAIN, method, repairs)))
    return Variant("-".join(filter(None, (candidate.id, mark))), candidate)

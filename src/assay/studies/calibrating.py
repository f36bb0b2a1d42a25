"""Observing the float model for a study: as many items as its ranges need, and again for every repaired form."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from assay.calibrate.moments import observe_moments
from assay.calibrate.packing import pack, unpack
from assay.calibrate.selection.convergence import MOST_ITEMS, ConvergenceRule
from assay.calibrate.selection.observe_until import observe_until, place_items
from assay.core.calibration import Calibration
from assay.core.convergence import Convergence
from assay.core.moments import LayerInput, LayerMoments
from assay.core.plan import Plan
from assay.core.precision import Repair
from assay.core.session import Dataset
from assay.data.shuffle import shuffle
from assay.data.subset import every
from assay.graph.channels import list_channel_axes
from assay.graph.expose import observable_tensors
from assay.graph.layer_inputs import list_moment_layers
from assay.graph.repair import RESCALING, repair_model
from assay.graph.rounded import RoundedWeights
from assay.studies.cores import count_cores
from assay.studies.exposing import fit_batch, open_exposed
from assay.studies.progress import Progress
from assay.studies.set_statistics import ObservedModel, observe_model, provide_statistics
from assay.studies.store import StudyStore

SEED = 0
"""Of the random order in which items are observed: the same in every study, so that it can be repeated."""
LOOKING_BATCH = 16
"""Most items of a call while it is asked whether they are enough: larger calls would make the looks coarse."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A float model and what calibration knows of it.

    Attributes:
        model: prepared, and repaired where repairs rescale it.
        calibration: statistics of its activations.
    """

    model: ir.Model
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class Pool:
    """Items to calibrate with.

    Attributes:
        dataset: all of them.
        asked: how many to use; None for as many as the ranges need to converge.
        statistics: folder of the statistics of a stored set, which is used whole; None for other data.
    """

    dataset: Dataset
    asked: int | None
    statistics: Path | None = None


class Calibrator:
    """Observes a model, each of its forms once, and reads what an earlier run of the study observed.

    Args:
        model: the prepared one, and the runtime that observes it.
        pool: items to calibrate with.
        store: keeps the statistics.
        progress: is told of every item.

    Attributes:
        store: as given.
        progress: as given.
        rounded: weights that plans of this study rounded.
    """

    def __init__(self, model: ObservedModel, pool: Pool, store: StudyStore, progress: Progress) -> None:
        self._model = model
        self._pool = pool
        self.store = store
        self.progress = progress
        self.rounded = RoundedWeights()
        self._observed: dict[tuple[Repair, ...], Observed] = {}
        self._moments: tuple[Observed | None, dict[LayerInput, LayerMoments]] = (None, {})

    @property
    def convergence(self) -> Convergence | None:
        """How the ranges settled; None where the number of items was given."""
        return self.store.read("convergence", Convergence)

    def observe(self, repairs: Collection[Repair] = ()) -> Observed:
        """The model in the form that the repairs give it, with its statistics.

        Raises:
            DataError: an activation is not finite, naming it.
            BackendError: the runtime cannot run the model with its activations exposed.
        """
        wanted = tuple(repair for repair in RESCALING if repair in repairs)
        if wanted not in self._observed:
            self._observed[wanted] = self._observe_form(wanted)
        return self._observed[wanted]

    def observe_moments(self, plan: Plan) -> Mapping[str, LayerMoments]:
        """Moments of the inputs of the layers whose weights the plan rounds adaptively; none for other plans.

        Raises:
            BackendError: the runtime cannot run the model with its activations exposed.
        """
        observed = self.observe(() if plan.scheme is None else plan.scheme.repairs)
        layers = list_moment_layers(observed.model, plan)
        if not layers:
            return {}
        if self._moments[0] is not observed:
            self._moments = (observed, {})
        known = self._moments[1]
        fresh = tuple(layer for layer in layers if layer not in known)
        if fresh:
            known |= self._observe_layers(observed.model, fresh)
        return {layer.node: known[layer] for layer in layers}

    def _observe_layers(self, model: ir.Model, layers: Sequence[LayerInput]) -> dict[LayerInput, LayerMoments]:
        """Moments of layers that were not observed yet."""
        items = self._choose()
        tensors = tuple(dict.fromkeys(layer.tensor for layer in layers))
        self.progress.start("observing the inputs of layers", len(items))
        with open_exposed(model, tensors, self._model.backend, self.store.measurements) as session:
            batch = self._model.fixed_batch or fit_batch(session, items)
            found = observe_moments(session, items, layers, batch, lambda _items: self.progress.advance(batch))
        self.progress.finish()
        return {layer: found[layer.node] for layer in layers}

    def _observe_form(self, wanted: tuple[Repair, ...]) -> Observed:
        """One form, observed or read."""
        base = None if not wanted else self.observe()
        prepared = self._model.prepared
        model = prepared if base is None else repair_model(prepared, wanted, base.calibration)
        name = "-".join(("calibration", *wanted))
        stored = self.store.read_arrays(name)
        if stored is not None:
            return Observed(model, unpack(stored))
        if base is None:
            calibration = self._observe_pool()
        else:
            form = ObservedModel(self._model.name, model, self._model.backend, self._model.fixed_batch)
            calibration = observe_model(form, self._choose(), self.progress)
        self.store.write_arrays(name, pack(calibration))
        return Observed(model, calibration)

    def _observe_pool(self) -> Calibration:
        """Statistics of the prepared model over a stored set, over the items asked for, or over enough items."""
        if self._pool.statistics is not None:
            return provide_statistics(self._pool.statistics, self._model, self._choose(), self.progress)
        if self._pool.asked is not None:
            return observe_model(self._model, self._choose(), self.progress)
        return self._observe_until_settled()

    def _observe_until_settled(self) -> Calibration:
        """Statistics over as many items in random order as the ranges need to settle."""
        prepared = self._model.prepared
        tensors = observable_tensors(prepared)
        with shuffle(self._pool.dataset, MOST_ITEMS, np.random.default_rng(SEED)) as shuffled:
            items = self._model.fit(shuffled)
            self.progress.start("calibrating", len(items))
            with open_exposed(prepared, tensors, self._model.backend, self.store.measurements) as session:
                batch = self._model.fixed_batch or min(LOOKING_BATCH, fit_batch(session, items))
                calibration, convergence = observe_until(
                    session,
                    items,
                    tensors,
                    batch,
                    ConvergenceRule(),
                    lambda _items: self.progress.advance(batch),
                    channels=list_channel_axes(prepared),
                    threads=count_cores(),
                )
            self.progress.finish()
            self.store.write("convergence", convergence)
            return place_items(calibration, shuffled.order, self._choose().fingerprint)

    def _choose(self) -> Dataset:
        """The items that the statistics are of, in the order of their data set."""
        dataset, asked = self._pool.dataset, self._pool.asked
        if asked is None and self._pool.statistics is not None:
            return self._model.fit(dataset)
        convergence = self.convergence
        count = asked or (MOST_ITEMS if convergence is None else convergence.items)
        if count >= len(dataset):
            return self._model.fit(dataset)
        order = np.random.default_rng(SEED).permutation(len(dataset))[:count]
        return self._model.fit(every(dataset, np.sort(order).tolist()))

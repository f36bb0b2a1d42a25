"""Opening the float model with its activations as outputs, for whoever observes it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir

from assay.backends.backend import Backend
from assay.backends.table import make_target
from assay.core.errors import DataError, UnsupportedPlan
from assay.core.plan import Plan
from assay.core.precision import CastStyle, Precision
from assay.core.session import Dataset, Session
from assay.data.grouping import find_rule
from assay.data.subset import first
from assay.graph.expose import Exposed, expose, expose_halved
from assay.graph.save import save_model
from assay.studies.cores import count_cores
from assay.studies.renamed import RenamedSession

ACTIVATION_BYTES = 64 << 20
LARGEST_BATCH = 32


@contextmanager
def open_exposed(
    model: ir.Model, tensors: Sequence[str], backend: Backend, scratch: Path, *, halved: bool = False
) -> Iterator[Session]:
    """A session of the float model, on all cores, that also gives the named tensors.

    Args:
        model: a prepared one.
        tensors: names of its activations.
        backend: runs it.
        scratch: an existing folder for the files that it is opened from; a sweep removes what a killed run left.
        halved: compute in BF16 by a hint, and give the activations as bfloat16.

    Raises:
        BackendError: the runtime cannot run the model with its activations exposed, or computes nothing in BF16.
        ModelError: the model computes no such tensor, or its opset has no cast to bfloat16.
    """
    target = make_target(backend.name, threads=count_cores())
    plan = Plan(Precision.BF16, cast=CastStyle.HINT) if halved else Plan(Precision.FP32)
    if halved and not (support := backend.supports(plan, target)).supported:
        raise UnsupportedPlan(f"activations cannot be observed in {plan.precision}: {support.reason}")
    exposed = expose_halved(model, tensors) if halved else Exposed(expose(model, tensors), {})
    with tempfile.TemporaryDirectory(prefix=".exposed.", dir=scratch) as name:
        path, built = Path(name, "exposed.onnx"), Path(name, "built")
        built.mkdir()
        save_model(exposed.model, path)
        backend.build(path, built, plan, target)
        with backend.open(built, target) as session:
            yield RenamedSession(session, exposed.outputs) if halved else session


def take_whole_batches(dataset: Dataset, batch: int) -> Dataset:
    """As many items as fill whole batches of a model that fixes its batch.

    Raises:
        DataError: there are fewer items than one batch.
    """
    usable = len(dataset) // batch * batch
    if not usable:
        message = f"the model fixes its batch at {batch}, and there are {len(dataset)} calibration items"
        raise DataError(message, "give more items, or export the model with a dynamic batch axis")
    return dataset if usable == len(dataset) else first(dataset, usable)


def fit_batch(session: Session, dataset: Dataset) -> int:
    """Items per call that keep all exposed activations within a fixed memory.

    Items of different lengths are taken one by one, in their order, so that it is known which were observed.
    """
    if find_rule(dataset) is not None:
        return 1
    sample = next(iter(dataset.batches(1)))
    item_bytes = sum(array.nbytes for array in session.run(sample.feeds).values())
    return max(1, min(LARGEST_BATCH, ACTIVATION_BYTES // max(1, item_bytes)))

"""What ``assay load`` sends queries to: an ``.onnx`` file, a release or a trial of a study, as it would serve."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from assay.backends.table import load_backend, make_target
from assay.core.errors import DataError, ModelError, RequestError, StoreError
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Session
from assay.core.target import ServingMode, Target
from assay.core.tensor import Array, Feeds, Signature, TensorSpec
from assay.data.open import open_dataset
from assay.data.source import DataSource, Preprocess
from assay.studies.kept_tokenizer import find_tokenizer
from assay.studies.manifest import MANIFEST_NAME
from assay.studies.named_trials import find_trial, is_study, split_name
from assay.studies.release import read_manifest
from assay.studies.sample import fill_up
from assay.studies.traffic import draw_traffic

FORMS = "name an .onnx file, the folder of a release, or STUDY_FOLDER:TRIAL"
DISTINCT = 32
"""So many different queries are sent in turn."""


@dataclass(frozen=True, slots=True)
class LoadTarget:
    """Something built that queries can be sent to.

    Attributes:
        title: for a sentence.
        folder: that the runtime opens.
        target: as it serves.
        preprocess: how stored arrays become its inputs, where it declares that.
    """

    title: str
    folder: Path
    target: Target
    preprocess: Preprocess | None = None

    def open(self, mode: ServingMode) -> Session:
        """Open it.

        Raises:
            BackendError: the runtime is missing or refuses it.
        """
        return load_backend(self.target.runtime).open(self.folder, replace(self.target, mode=mode))


def find_target(text: str, runtime: str | None, threads: int | None, batch: int | None, stack: ExitStack) -> LoadTarget:
    """Find what a name stands for; a model file is built into a folder that the stack removes.

    Args:
        text: an ``.onnx`` file, a release folder or ``STUDY:TRIAL``.
        runtime: for an ``.onnx`` file; what is built has its own.
        threads: compute threads; as released or studied where None.
        batch: items of a query; as released or studied where None.
        stack: removes what was built.

    Raises:
        RequestError: there is nothing of that name, or a runtime is named for what has its own.
        ModelError: the file is missing.
        StoreError: a release or a study is damaged.
        BackendError: the runtime is missing or refuses it.
    """
    path = Path(text)
    if path.suffix.lower() == ".onnx":
        return build_model(path, make_target(runtime or "onnxruntime", threads=threads or 1, batch=batch or 1), stack)
    if (path / MANIFEST_NAME).is_file():
        manifest = read_manifest(path)
        first = manifest.artifacts[0]
        found = LoadTarget(
            f"{text} ({first.trial.id})", path / first.folder, first.target, find_tokenizer(manifest.preprocess, path)
        )
    elif is_study(split_name(text)[0]):
        found = open_trial(text)
    else:
        raise RequestError(f"{text} {'is of no known form' if path.exists() else 'does not exist'}", FORMS)
    own = found.target
    if runtime is not None and runtime != own.runtime:
        raise RequestError(f"{text} was built for {own.runtime} and cannot run on {runtime}", "leave out --runtime")
    return replace(found, target=replace(own, threads=threads or own.threads, batch=batch or own.batch))


def build_model(path: Path, target: Target, stack: ExitStack) -> LoadTarget:
    """Build a model file as it is.

    Raises:
        ModelError: it is missing.
        BackendError: the runtime is missing or refuses it.
    """
    if not path.is_file():
        raise ModelError(f"{path} does not exist", FORMS)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="assay-")))
    load_backend(target.runtime).build(path, folder, Plan(Precision.FP32), target)
    return LoadTarget(f"{path} ({target.runtime})", folder, target)


def open_trial(text: str) -> LoadTarget:
    """The artifact of a study's trial.

    Raises:
        RequestError: the study has no such trial.
        StoreError: the artifact is missing.
    """
    named = find_trial(text)
    trial, record = named.trial, named.record
    folder = named.folder / "artifacts" / trial.artifact
    if not trial.artifact or not folder.is_dir():
        why = trial.reason or "it is not in the folder"
        raise StoreError(f"trial {trial.id} of {named.folder} has no artifact: {why}", "name a trial that was built")
    target = make_target(trial.candidate.runtime, threads=record.threads, batch=record.batch)
    return LoadTarget(f"{named.folder}:{trial.id}", folder, target, find_tokenizer(record.preprocess, named.folder))


def make_queries(
    target: LoadTarget, signature: Signature, evaluation: str | None, rng: np.random.Generator
) -> tuple[Feeds, ...]:
    """Some different queries of the target's batch: items of a data set, or random ones of the model's shapes.

    Args:
        target: what they are sent to.
        signature: of it.
        evaluation: a data set; random arrays where None.
        rng: draws random arrays.

    Raises:
        DataError: the items do not fit, or the model leaves a shape open that only data can settle.
        RequestError: the model fixes another batch.
    """
    batch = find_batch(target, signature)
    if evaluation is None:
        return tuple({spec.name: draw(spec, batch, rng) for spec in signature.inputs} for _ in range(DISTINCT))
    dataset = open_dataset(DataSource(path=evaluation, preprocess=target.preprocess), signature)
    traffic = draw_traffic(dataset, batch)
    if traffic is not None:
        # Items differ in length: the queries are as frequent in each as the data.
        return traffic.calls
    found: list[Feeds] = []
    for items in dataset.batches(batch):
        found.append(fill_up(items.feeds, batch))
        if len(found) == DISTINCT:
            break
    return tuple(found)


def find_batch(target: LoadTarget, signature: Signature) -> int:
    """Items of a query.

    Raises:
        RequestError: the model fixes another batch than the one asked for.
    """
    fixed = next((s.shape[0] for s in signature.inputs if s.shape and isinstance(s.shape[0], int)), None)
    if fixed is not None and target.target.batch not in {1, fixed}:
        message = f"batch = {target.target.batch}, but {target.title} fixes its batch at {fixed}"
        raise RequestError(message, f"give --batch {fixed}")
    return target.target.batch if fixed is None else fixed


def draw(spec: TensorSpec, batch: int, rng: np.random.Generator) -> Array:
    """A random array of an input's type and shape: normal numbers, or zeros and ones for integers.

    Raises:
        DataError: the shape is open beyond the batch, or the type is no number.
    """
    hint = "give --evaluation with items of the real shape"
    shape = spec.shape or ()
    if spec.shape is None or not all(isinstance(axis, int) for axis in shape[1:]):
        raise DataError(f"input {spec.name!r} has no fixed shape: {list(shape)}", hint)
    sizes = (batch, *(axis for axis in shape[1:] if isinstance(axis, int))) if shape else ()
    try:
        dtype = np.dtype(spec.dtype)
    except TypeError as error:
        raise DataError(f"input {spec.name!r} is {spec.dtype}, which cannot be drawn at random", hint) from error
    if dtype.kind in "iub":
        return rng.integers(0, 2, sizes).astype(dtype)
    if dtype.kind not in "fV":
        raise DataError(f"input {spec.name!r} is {spec.dtype}, which cannot be drawn at random", hint)
    return rng.standard_normal(sizes).astype(dtype)

"""What ``assay compare`` takes: a model file, a release or a trial of a study, opened as it would serve."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from assay.backends.model_files import external_locations, read_graph
from assay.backends.openvino.adopt import adopt_ir
from assay.backends.table import load_backend, make_target
from assay.core.errors import BuildFailed, ModelError, RequestError, StoreError
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.session import Session
from assay.data.source import Preprocess
from assay.studies.files import hash_file, store_errors
from assay.studies.kept_tokenizer import find_tokenizer
from assay.studies.loaded import LoadedRelease
from assay.studies.manifest import MANIFEST_NAME
from assay.studies.named_trials import find_trial, is_study, split_name
from assay.studies.scoring_batch import SCORING_BATCH

OPENVINO = "openvino"
FORMS = "name an .onnx file, an OpenVINO .xml, the folder of a release, or STUDY_FOLDER:TRIAL"


class ContenderKind(StrEnum):
    """Forms in which a contender can be given."""

    ONNX = "ONNX model"
    IR = "OpenVINO IR"
    RELEASE = "release"
    TRIAL = "trial"


@dataclass(frozen=True, slots=True)
class Contender:
    """One side of a comparison, opened.

    Attributes:
        text: as the user named it.
        runtime: that runs it.
        session: opened.
        identity: content hash of what runs, with everything else that its outputs depend on.
        preprocess: how stored arrays become its inputs, where it declares that.
        versions: of its runtime.
    """

    text: str
    kind: ContenderKind
    runtime: str
    session: Session
    identity: str
    preprocess: Preprocess | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name and the runtime, for a sentence."""
        return f"{self.text} ({self.runtime})"


def find_kind(text: str) -> ContenderKind:
    """What a contender's name stands for.

    Raises:
        RequestError: there is nothing of that name, or it is of no known form.
    """
    path = Path(text)
    if path.is_dir():
        if (path / MANIFEST_NAME).is_file():
            return ContenderKind.RELEASE
        if is_study(path):
            return ContenderKind.TRIAL
        raise RequestError(f"{text} is a folder, but neither a release nor a finished study", FORMS)
    if path.suffix.lower() == ".xml":
        return ContenderKind.IR
    if path.suffix.lower() == ".onnx":
        return ContenderKind.ONNX
    if is_study(split_name(text)[0]):
        return ContenderKind.TRIAL
    raise RequestError(f"{text} {'is of no known form' if path.exists() else 'does not exist'}", FORMS)


def open_contender(text: str, runtime: str | None, threads: int, stack: ExitStack) -> Contender:
    """Open one side.

    Args:
        text: its name.
        runtime: for an ``.onnx`` file; the others say themselves what runs them.
        threads: compute threads; a release keeps its own.
        stack: closes it.

    Raises:
        RequestError: there is nothing of that name, or a runtime is named that does not run it.
        ModelError: the file is missing or is no model.
        StoreError: a release or a study is damaged.
        BackendError: the runtime is missing or refuses it.
    """
    kind = find_kind(text)
    if kind is ContenderKind.RELEASE:
        return open_release(text, runtime, stack)
    if kind is ContenderKind.TRIAL:
        return open_trial(text, runtime, threads, stack)
    return open_model(text, kind, runtime, threads, stack)


def open_model(text: str, kind: ContenderKind, runtime: str | None, threads: int, stack: ExitStack) -> Contender:
    """Open a model file as it is.

    Raises:
        RequestError: a runtime is named that cannot run an OpenVINO IR.
        ModelError: the file is missing or is no model.
        BackendError: the runtime is missing or refuses it.
    """
    path = Path(text)
    if not path.is_file():
        raise ModelError(f"{text} does not exist", FORMS)
    name = runtime or (OPENVINO if kind is ContenderKind.IR else "onnxruntime")
    if kind is ContenderKind.IR and name != OPENVINO:
        raise RequestError(f"{text} is an OpenVINO IR, which {name} cannot run", f"leave out --runtime {name} for it")
    backend, target = load_backend(name), make_target(name, threads=threads, batch=SCORING_BATCH)
    content = hash_ir(path) if kind is ContenderKind.IR else hash_onnx(path)
    built = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="assay-")))
    if kind is ContenderKind.IR:
        adopt_ir(path, built)
    else:
        backend.build(path, built, Plan(Precision.FP32), target)
    session = stack.enter_context(backend.open(built, target))
    return identify(text, kind, name, session, content)


def open_trial(text: str, runtime: str | None, threads: int, stack: ExitStack) -> Contender:
    """Open the artifact of a study's trial.

    Raises:
        RequestError: the study has no such trial, or it runs on another runtime.
        StoreError: the artifact is missing.
        BackendError: the runtime is missing or refuses it.
    """
    named = find_trial(text)
    trial, own = named.trial, named.trial.candidate.runtime
    check_runtime(text, runtime, own)
    folder = named.folder / "artifacts" / trial.artifact
    if not trial.artifact or not folder.is_dir():
        why = trial.reason or "it is not in the folder"
        raise StoreError(f"trial {trial.id} of {named.folder} has no artifact: {why}", "name a trial that was built")
    target = make_target(own, threads=threads, batch=SCORING_BATCH)
    session = stack.enter_context(load_backend(own).open(folder, target))
    name = f"{named.folder}:{trial.id}"
    return identify(
        name, ContenderKind.TRIAL, own, session, trial.artifact, find_tokenizer(named.record.preprocess, named.folder)
    )


def open_release(text: str, runtime: str | None, stack: ExitStack) -> Contender:
    """Open a release as it serves.

    Raises:
        RequestError: a runtime is named that it does not run on.
        StoreError: the release is damaged.
        BackendError: none of its artifacts can be opened.
    """
    release = stack.enter_context(LoadedRelease(Path(text)))
    own = next(a.target.runtime for a in release.manifest.artifacts if a.trial.id == release.active)
    check_runtime(text, runtime, own)
    content = hash_file(Path(text, MANIFEST_NAME)) + release.active
    return identify(
        text, ContenderKind.RELEASE, own, release, content, find_tokenizer(release.manifest.preprocess, release.folder)
    )


def identify(
    text: str, kind: ContenderKind, runtime: str, session: Session, content: str, preprocess: Preprocess | None = None
) -> Contender:
    """A contender whose identity is its content and its runtime."""
    versions = dict(load_backend(runtime).versions())
    digest = hashlib.sha256(repr((content, runtime, sorted(versions.items()))).encode()).hexdigest()
    return Contender(text, kind, runtime, session, digest, preprocess, versions)


def check_runtime(text: str, asked: str | None, own: str) -> None:
    """Refuse a runtime other than that of a built artifact.

    Raises:
        RequestError: naming both.
    """
    if asked is not None and asked != own:
        raise RequestError(f"{text} was built for {own} and cannot run on {asked}", f"leave out --runtime {asked}")


def hash_onnx(path: Path) -> str:
    """Content hash of an ONNX file with its external data.

    Raises:
        ModelError: it is no ONNX model, or its external data is missing.
    """
    try:
        places = sorted(set(external_locations(read_graph(path))))
    except BuildFailed as error:
        raise ModelError(error.message, error.hint) from error
    missing = next((place for place in places if not (path.parent / place).is_file()), None)
    if missing is not None:
        raise ModelError(f"{path}: external data {missing!r} is missing", "keep it beside the model")
    return hash_files([path, *(path.parent / place for place in places)])


def hash_ir(path: Path) -> str:
    """Content hash of an OpenVINO IR with its weights.

    Raises:
        ModelError: the weights are missing.
    """
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise ModelError(f"{weights}, the weights of {path}, does not exist", "keep it beside the .xml")
    return hash_files([path, weights])


def hash_files(paths: list[Path]) -> str:
    """Hash of the contents of some files, in their order."""
    with store_errors(paths[0], "read"):
        return "".join(hash_file(path) for path in paths)

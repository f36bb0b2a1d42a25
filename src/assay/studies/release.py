"""A decision made deployable: a folder with the chain's artifacts, a manifest that proves it whole, a model card."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from assay.backends.table import make_target
from assay.core.errors import RequestError, StoreError
from assay.core.trial import Trial
from assay.studies.files import hash_file, list_files, new_folder, store_errors, write_bytes
from assay.studies.kept_tokenizer import find_tokenizer, keep_tokenizer
from assay.studies.manifest import MANIFEST_NAME, MANIFEST_SCHEMA, Manifest, ReleasedArtifact
from assay.studies.record import StudyRecord
from assay.studies.store import decode, encode, load_record

DIGEST_NAME = "manifest.sha256"
CARD_NAME = "MODEL_CARD.md"


def find_chain(record: StudyRecord) -> tuple[Trial, ...]:
    """The trials that a release carries: the chosen one, or else the best, then the fallbacks.

    Raises:
        RequestError: the study has nothing that can be released.
    """
    decision = record.decision
    head = decision.chosen
    if head is None:
        message = f"the study chose nothing to release: {decision.sentence}"
        hint = f"release the best so far with --trial {decision.best}" if decision.best else "change the requirements"
        raise RequestError(message, hint)
    return collect_chain(record, head)


def collect_chain(record: StudyRecord, head: str) -> tuple[Trial, ...]:
    """A trial and the decision's fallbacks behind it.

    Raises:
        RequestError: there is no such trial, or it has no artifact.
    """
    trials = {trial.id: trial for trial in record.trials}
    reference = next(trial.id for trial in record.trials if trial.reference)
    names = tuple(dict.fromkeys((head, *record.decision.fallbacks, reference)))
    missing = next((name for name in names if name not in trials or not trials[name].artifact), None)
    if missing is not None:
        built = ", ".join(trial.id for trial in record.trials if trial.artifact)
        raise RequestError(f"trial {missing!r} has no artifact in this study", f"built trials are {built}")
    chain = [trials[name] for name in names]
    return tuple(chain if len(chain) == 1 or chain[-1].id != head else chain[:-1])


def make_release(
    study: Path,
    into: Path,
    created: str,
    card: Callable[[StudyRecord, tuple[Trial, ...]], str],
    head: str | None = None,
) -> Manifest:
    """Write the deployable folder of a study.

    Args:
        study: the study's folder.
        into: the folder to write; must be absent or empty.
        created: ISO 8601 time, UTC.
        card: draws the model card from the record and the chain.
        head: a trial to release instead of the chosen one.

    Raises:
        RequestError: nothing was chosen, or ``into`` is not empty.
        StoreError: an artifact is missing, or the folder cannot be written.
    """
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise RequestError(f"{into} exists and is not an empty folder", "choose another folder, or delete it")
    record = load_record(study)
    chain = find_chain(record) if head is None else collect_chain(record, head)
    with new_folder(into) as folder:
        released = tuple(copy_artifact(study, folder, record, trial) for trial in chain)
        kept = keep_tokenizer(find_tokenizer(record.preprocess, study), folder)
        record = replace(record, preprocess=kept)
        write_bytes(folder / CARD_NAME, card(record, chain).encode())
        manifest = compose_manifest(record, released, created, folder)
        content = encode(manifest)
        write_bytes(folder / MANIFEST_NAME, content)
        write_bytes(folder / DIGEST_NAME, f"{hashlib.sha256(content).hexdigest()}  {MANIFEST_NAME}\n".encode())
    return manifest


def copy_artifact(study: Path, folder: Path, record: StudyRecord, trial: Trial) -> ReleasedArtifact:
    """Copy one artifact into the release."""
    source = study / "artifacts" / trial.artifact
    place = folder / "artifacts" / trial.id
    if not source.is_dir():
        raise StoreError(f"the artifact of {trial.id} is missing: {source}", "run the study again")
    with store_errors(place, "write"):
        shutil.copytree(source, place)
    target = make_target(trial.candidate.runtime, threads=record.threads, batch=record.batch)
    return ReleasedArtifact(trial, str(place.relative_to(folder)), target)


def compose_manifest(
    record: StudyRecord, released: tuple[ReleasedArtifact, ...], created: str, folder: Path
) -> Manifest:
    """The manifest of a folder as it stands."""
    files = {path.relative_to(folder).as_posix(): hash_file(path) for path in list_files(folder)}
    decision = record.decision
    if released[0].trial.id != decision.chosen:
        decision = replace(decision, best=released[0].trial.id)
    return Manifest(
        schema=MANIFEST_SCHEMA,
        created=created,
        assay=record.versions.get("assay", ""),
        title=record.title,
        task=record.task,
        requirements=record.requirements,
        decision=decision,
        artifacts=released,
        model=record.model,
        calibration=record.calibration,
        evaluation=record.evaluation,
        machine=record.machine,
        versions=record.versions,
        files=files,
        preprocess=record.preprocess,
        warnings=record.warnings,
        threshold=record.threshold,
    )


def read_manifest(release: Path) -> Manifest:
    """The manifest of a release.

    Raises:
        StoreError: the folder is no release, or the manifest is damaged or of another schema.
    """
    path = release / MANIFEST_NAME
    if not path.is_file():
        raise StoreError(f"{release} is not a release: it has no {MANIFEST_NAME}", "make one with `assay release`")
    with store_errors(path, "read"):
        content = path.read_bytes()
    manifest = decode(content, Manifest, path)
    if manifest.schema != MANIFEST_SCHEMA:
        message = f"{path} has schema {manifest.schema}; this version reads {MANIFEST_SCHEMA}"
        raise StoreError(message, "release the study again")
    return manifest


def verify_release(release: Path) -> Manifest:
    """Prove that a release is whole: every file is there, unchanged, and nothing was added.

    Raises:
        StoreError: naming each file that is missing, changed or foreign.
    """
    manifest = read_manifest(release)
    digest = release / DIGEST_NAME
    with store_errors(digest, "read"):
        stated = digest.read_text(encoding="ascii").split()[:1] if digest.is_file() else []
    faults: list[str] = []
    if stated != [hash_file(release / MANIFEST_NAME)]:
        faults.append(f"{MANIFEST_NAME} does not match {DIGEST_NAME}")
    own = {MANIFEST_NAME, DIGEST_NAME}
    present = {path.relative_to(release).as_posix() for path in list_files(release)} - own
    faults += [f"{name} is missing" for name in sorted(set(manifest.files) - present)]
    faults += [f"{name} does not belong to the release" for name in sorted(present - set(manifest.files))]
    for name in sorted(present & set(manifest.files)):
        if hash_file(release / name) != manifest.files[name]:
            faults.append(f"{name} was changed")
    if faults:
        raise StoreError(f"{release} is not whole: {'; '.join(faults)}", "release the study again")
    return manifest

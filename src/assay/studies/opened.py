"""Opening what a study built, for the deployment that is measured."""

from __future__ import annotations

from assay.core.errors import BackendError
from assay.core.session import Session
from assay.core.target import ServingMode
from assay.studies.attempt import Attempt
from assay.studies.workspace import Workspace


def open_attempt(space: Workspace, attempt: Attempt, mode: ServingMode = ServingMode.LATENCY) -> Session:
    """Open an attempt's artifact for the deployment.

    Raises:
        BackendError: it opened before, and does not now; the message names it.
    """
    runtime = attempt.candidate.runtime
    folder = space.store.artifact(attempt.address)
    try:
        return space.backends[runtime].open(folder, space.target(runtime, mode))
    except BackendError as error:
        message = f"{attempt.candidate.id} opened before and does not open now: {error.message}"
        raise type(error)(message, error.hint) from error

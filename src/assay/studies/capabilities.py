"""What the runtimes of a study can be asked for, and what is asked of those that build for devices elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from assay.backends.backend import Backend, FloatBackend, WeightBackend
from assay.core.plan import Candidate
from assay.core.precision import Precision
from assay.core.target import Target
from assay.decide.propose import HALF_PRECISIONS, WEIGHT_PRECISIONS, Capabilities, ModelTraits, propose
from assay.studies.workspace import Workspace


def describe_runtime(backend: Backend, target: Target, precisions: tuple[Precision, ...]) -> Capabilities:
    """What a runtime can be asked for.

    Args:
        backend: its adapter.
        target: its name in the table, device and threads.
        precisions: that the user allows.
    """
    return Capabilities(
        name=target.runtime,
        dialects=backend.dialects(target),
        rests=usable_rests(backend.rests(target), precisions),
        casts={precision: backend.cast_style(precision, target) for precision in HALF_PRECISIONS},
        weights={
            precision: backend.weight_schemes(precision, target)
            for precision in WEIGHT_PRECISIONS
            if isinstance(backend, WeightBackend) and precision in precisions
        },
        floats=backend.float_dialect(target) if isinstance(backend, FloatBackend) else None,
    )


def usable_rests(rests: tuple[Precision, ...], wanted: tuple[Precision, ...]) -> tuple[Precision, ...]:
    """Formats for what an INT8 plan leaves in floats, without those that the user left out."""
    return tuple(rest for rest in rests if rest is Precision.FP32 or rest in wanted)


def allowed_traits(space: Workspace) -> ModelTraits:
    """What of the model the proposer goes by, with the repairs that the user allows and that there is data for."""
    traits = space.subject.traits
    repairs = () if space.calibrator is None else space.request.repairs
    return replace(traits, repairs=tuple(repair for repair in traits.repairs if repair in repairs))


def list_elsewhere(space: Workspace) -> Iterator[Candidate]:
    """The first round of every runtime that builds for a device elsewhere: what follows would go by measurements."""
    request = space.request
    for one in space.elsewhere:
        target = replace(space.target(one.runtime), device=one.device)
        capabilities = describe_runtime(one.backend, target, request.precisions)
        ranges = request.ranges if space.calibrator is not None else ()
        for candidate in propose([capabilities], allowed_traits(space), request.precisions, ranges, ()):
            yield replace(candidate, device=one.device)

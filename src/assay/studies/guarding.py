"""Failing an attempt whose outputs are broken, whatever the metric says, and naming the node where that begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from assay.backends.backend import Backend
from assay.core.errors import BackendError, InputError
from assay.core.fault import Fault, FaultKind
from assay.core.plan import Candidate, Plan
from assay.core.precision import Precision
from assay.core.session import Dataset
from assay.core.trial import Trial, TrialStatus
from assay.data.subset import every
from assay.graph.cast_nodes import keep_wide
from assay.graph.fault_source import find_sources, list_fused, pair_tensors
from assay.measure.guards import GuardSummary, OutputGuard, find_faults
from assay.studies.attempt import Attempt, realise_plan
from assay.studies.exposing import fit_batch, open_exposed, take_whole_batches
from assay.studies.scoring import count_nonfinite, read_guard
from assay.studies.workspace import Workspace

TRACED_ITEMS = 64
"""Items on which inner tensors are looked at."""
MOST_NAMED = 4
"""Nodes that are told one by one."""
MOSTLY = 0.5
"""Part of a tensor's channels from which a fault of them is one of what is computed from all of them."""
TRACER = "onnxruntime"
"""Runs float and realised graphs with their tensors exposed, where it is available; else the first runtime does."""


def guard_attempt(space: Workspace, attempt: Attempt, attempts: Sequence[Attempt]) -> Attempt:
    """The attempt, failed where an output is dead, stuck or no number though the reference's is healthy there.

    Nothing is run for this, but where a fault is found: then the float model and the realised one, to name the node.

    Args:
        space: the study.
        attempt: scored on the search items.
        attempts: those before it; the first FP32 that ran is the reference.
    """
    reference = find_healthy(attempts)
    if attempt.status is not TrialStatus.OK or reference is None or attempt.candidate == reference:
        return attempt
    before, after = read_guard(space, reference), read_guard(space, attempt.candidate)
    faults = () if before is None or after is None else find_faults(before, after)
    if not faults:
        return attempt
    faults = name_sources(space, attempt.candidate, faults)
    reason = "; ".join(fault.words for fault in faults)
    failed = replace(
        attempt, status=TrialStatus.FAILED, reason=reason, probe=None, faults=faults, limits=space.request.limits
    )
    space.store.write(f"trials/{attempt.candidate.id}", failed)
    return failed


def find_healthy(attempts: Sequence[Attempt]) -> Candidate | None:
    """The reference: the FP32 model on the first runtime that runs it."""
    plain = Plan(Precision.FP32)
    return next((a.candidate for a in attempts if a.candidate.plan == plain and a.status is TrialStatus.OK), None)


def guard_trial(space: Workspace, trial: Trial, reference: Candidate) -> Trial:
    """The trial, failed where a certification item gave a value that is no number and the reference none anywhere."""
    if trial.reference or trial.evidence is None or count_nonfinite(space, reference):
        return trial
    values = count_nonfinite(space, trial.candidate)
    if not values:
        return trial
    reason = f"{values:,} output values are NaN or infinite, where the reference has none"
    return replace(trial, status=TrialStatus.FAILED, reason=reason, evidence=None)


def list_guilty(space: Workspace, attempt: Attempt) -> tuple[str, ...]:
    """Nodes that the next plan is to leave in floats: where the faults begin, with what runs together with them."""
    names = dict.fromkeys(name for fault in attempt.faults for name in fault.nodes)
    kept = [node for name in names for node in list_fused(space.subject.prepared, name)]
    return tuple(dict.fromkeys(kept))


def name_sources(space: Workspace, candidate: Candidate, faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """The faults, each with the node where it begins; one that the realised graph does not show is the runtime's."""
    space.progress.say(f"{candidate.id}: {faults[0].words}: looking for the node")
    try:
        model, inner = trace(space, candidate.plan)
    except (BackendError, InputError) as error:
        # Which node it is helps, but the trial fails without it too.
        return tuple(replace(fault, words=f"{fault.words} (not traced: {error})") for fault in faults)
    return tuple(name_source(model, inner, fault) for fault in faults)


def name_source(model: ir.Model, inner: Mapping[str, Fault], fault: Fault) -> Fault:
    """A fault with the nodes where it begins."""
    nodes = find_sources(model, inner, fault.tensor)
    if nodes:
        told = ", ".join(f"'{node.name}' ({node.op_type})" for node in nodes[:MOST_NAMED])
        told += f" and {len(nodes) - MOST_NAMED} more" if len(nodes) > MOST_NAMED else ""
        words = f"{fault.words}; it begins at node{'s' if len(nodes) > 1 else ''} {told}"
        return replace(fault, nodes=tuple(str(node.name) for node in nodes), words=words)
    if fault.kind is FaultKind.NONFINITE:
        return fault
    return replace(fault, words=f"{fault.words}; the graph that was built does not show it, so it is the runtime's")


def trace(space: Workspace, plan: Plan) -> tuple[ir.Model, Mapping[str, Fault]]:
    """The float model that a plan was realised from, and the faults of its tensors.

    Raises:
        BackendError: the runtime cannot run one of the two with its tensors exposed.
        InputError: there are fewer items than a fixed batch, or a tensor cannot be exposed.
    """
    realised = realise_plan(space, keep_wide(plan))  # the tracer has no kernels for bfloat16
    model = space.subject.prepared
    if space.calibrator is not None:
        model = space.calibrator.observe(() if plan.scheme is None else plan.scheme.repairs).model
    positions = np.sort(space.split.order[: min(TRACED_ITEMS, space.split.search)])
    items, fixed = every(space.evaluation, positions.tolist()), space.subject.fixed_batch
    items = items if fixed is None else take_whole_batches(items, fixed)
    backend = space.backends.get(TRACER) or next(iter(space.backends.values()))
    return model, find_inner_faults((model, realised), items, fixed, backend, space.store.measurements)


def find_inner_faults(
    models: tuple[ir.Model, ir.Model], items: Dataset, fixed: int | None, backend: Backend, scratch: Path
) -> Mapping[str, Fault]:
    """Faults of the tensors that a realised model has in place of the float model's, by the float model's names.

    Args:
        models: float and realised.
        items: that both are run on.
        fixed: items of a call, where the model fixes that.
        backend: runs both.
        scratch: an existing folder.

    Raises:
        BackendError: the runtime cannot run one of the two with its tensors exposed.
        ModelError: a tensor cannot be exposed.
    """
    pairs = pair_tensors(*models)
    seen: list[GuardSummary] = []
    for model, names in zip(models, ({name: name for name in pairs}, pairs), strict=True):
        guard, inputs = OutputGuard(), {value.name for value in model.graph.inputs}
        with open_exposed(model, tuple(names.values()), backend, scratch) as session:
            for batch in items.batches(fixed or fit_batch(session, items)):
                outputs = {**batch.feeds, **session.run(batch.feeds)}
                own = {name: value for name, value in outputs.items() if name not in inputs}
                guard.add({**own, **{name: outputs[here] for name, here in names.items()}}, batch.size)
        seen.append(guard.summarise())
    return join_faults(find_faults(*seen))


def join_faults(faults: Sequence[Fault]) -> Mapping[str, Fault]:
    """One fault for each tensor: its gravest; it is the whole's where at least half of the channels have one."""
    joined: dict[str, Fault] = {}
    for fault in faults:
        same = [one for one in faults if (one.tensor, one.axis) == (fault.tensor, fault.axis)]
        guilty = {channel for one in same for channel in one.channels}
        widened = replace(fault, channels=()) if len(guilty) >= MOSTLY * fault.of else fault
        known = joined.get(fault.tensor)
        if known is None or (widened.whole and not known.whole):
            joined[fault.tensor] = widened
    return joined

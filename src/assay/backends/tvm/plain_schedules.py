"""Loop schedules of what multiplies no matrices: elementwise functions, pools, reductions, copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.backends.tvm.machine import Machine
from assay.backends.tvm.vendor import load_compiler

SMALL = 16384
"""Elements below which waking threads takes longer than the work."""
COPIED = 4
"""Vectors of elements that the inner loops of a copy hold at least."""
Schedule = Any
"""TVM's schedule object; it and its handles of blocks and loops have no types."""
Block = Any
Loop = Any


def list_blocks(schedule: Schedule) -> list[Block]:
    """All blocks below the root, in the order in which they run."""
    return list(schedule.get_child_blocks(schedule.get_sblock("root")))


def block_name(schedule: Schedule, block: Block) -> str:
    """Its name, unique in a function."""
    return str(schedule.get(block).name_hint)


def count_spatial(schedule: Schedule, block: Block) -> int:
    """Axes of a block that it does not reduce."""
    return sum(int(axis.iter_type) == 0 for axis in schedule.get(block).iter_vars)


def is_spatial(schedule: Schedule, block: Block) -> bool:
    """Whether it reduces nothing."""
    return count_spatial(schedule, block) == len(schedule.get(block).iter_vars)


def extent(schedule: Schedule, loop: Loop) -> int:
    """Number of its steps."""
    return int(schedule.get(loop).extent)


def schedule_plain(function: Any, machine: Machine) -> Schedule:  # noqa: ANN401 - TVM's has no types
    """Schedule a function without a product of ours."""
    schedule = load_compiler("s_tir").Schedule(function)
    schedule_blocks(schedule, list_blocks(schedule), machine)
    return schedule


def schedule_blocks(schedule: Schedule, blocks: Sequence[Block], machine: Machine) -> None:
    """Vectors along the last axis, threads along the others; what one elementwise block reads is computed there."""
    for block in blocks:
        readers = schedule.get_consumers(block)
        if len(readers) == 1 and is_spatial(schedule, block) and is_spatial(schedule, readers[0]):
            schedule.compute_inline(block)
        elif is_spatial(schedule, block):
            _schedule_spatial(schedule, block, machine)
        else:
            _schedule_reduction(schedule, block, machine)


def _schedule_spatial(schedule: Schedule, block: Block, machine: Machine) -> None:
    loops = schedule.get_loops(block)
    if not loops:
        return
    if extent(schedule, loops[-1]) % machine.lanes:
        if not _keeps_places(schedule, block):
            _schedule_copy(schedule, loops, machine.lanes)
            return
        loops = [schedule.fuse(*loops)]
    *outer, last = loops
    if extent(schedule, last) % machine.lanes == 0:
        last, lane = schedule.split(last, [None, machine.lanes])
        schedule.vectorize(lane)
    share_loops(schedule, [*outer, last], machine.lanes)


def _keeps_places(schedule: Schedule, block: Block) -> bool:
    """Whether a block reads, of every tensor with as many axes as it has, the element that it writes."""
    found = schedule.get(block)
    variables = [axis.var for axis in found.iter_vars]
    return all(
        not read.region
        or (
            len(read.region) == len(variables)
            and all(step.min.same_as(variable) for step, variable in zip(read.region, variables, strict=True))
        )
        for read in found.reads
    )


def _schedule_copy(schedule: Schedule, loops: Sequence[Loop], lanes: int) -> None:
    """Leave the innermost loops as they are to LLVM, which sees there how memory is walked; share the others."""
    inner, steps = len(loops), 1
    while inner > 1 and steps < COPIED * lanes:
        inner -= 1
        steps *= extent(schedule, loops[inner])
    if inner and steps > 1:
        share_loops(schedule, loops[:inner], steps)


def share_loops(schedule: Schedule, loops: Sequence[Loop], inner: int) -> None:
    """Divide loops among threads, where they are long enough.

    Args:
        schedule: of the function.
        loops: neighbours, outermost first.
        inner: elements of one step of the innermost.
    """
    shared = schedule.fuse(*loops) if len(loops) > 1 else loops[0]
    if extent(schedule, shared) > 1 and extent(schedule, shared) * inner > SMALL:
        schedule.parallel(shared)


def _schedule_reduction(schedule: Schedule, block: Block, machine: Machine) -> None:
    loops, spatial = schedule.get_loops(block), count_spatial(schedule, block)
    own, reduced = loops[:spatial], loops[spatial:]
    if len(loops) != len(schedule.get(block).iter_vars):
        return
    steps = 1
    for loop in reduced:
        steps *= extent(schedule, loop)
    if own and extent(schedule, own[-1]) % machine.lanes == 0 and _walks_evenly(schedule, block, spatial - 1):
        last, lane = schedule.split(own[-1], [None, machine.lanes])
        schedule.reorder(*own[:-1], last, *reduced, lane)
        schedule.vectorize(lane)
        share_loops(schedule, [*own[:-1], last], machine.lanes * steps)
        initial = schedule.decompose_reduction(block, reduced[0])
        schedule.vectorize(schedule.get_loops(initial)[-1])
        return
    if own:
        share_loops(schedule, own, steps)


def _walks_evenly(schedule: Schedule, block: Block, axis: int) -> bool:
    """Whether neighbours along an axis of a block are read at places of even distance."""
    found, detect = schedule.get(block), load_compiler("sym").detect_linear_equation
    variable = found.iter_vars[axis].var
    return all(len(detect(step.min, [variable])) > 0 for read in found.reads for step in read.region)

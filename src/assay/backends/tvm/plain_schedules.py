"""Loop schedules of what multiplies no matrices: elementwise functions, pools, reductions, copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.backends.tvm.machine import Machine
from assay.backends.tvm.vendor import load_compiler

SMALL = 16384
"""Elements below which waking threads takes longer than the work."""
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
        loops = [schedule.fuse(*loops)]
    *outer, last = loops
    if extent(schedule, last) % machine.lanes == 0:
        last, lane = schedule.split(last, [None, machine.lanes])
        schedule.vectorize(lane)
    share_loops(schedule, [*outer, last], machine.lanes)


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
    if own and extent(schedule, own[-1]) % machine.lanes == 0:
        last, lane = schedule.split(own[-1], [None, machine.lanes])
        schedule.reorder(*own[:-1], last, *reduced, lane)
        schedule.vectorize(lane)
        share_loops(schedule, [*own[:-1], last], machine.lanes * steps)
        initial = schedule.decompose_reduction(block, reduced[0])
        schedule.vectorize(schedule.get_loops(initial)[-1])
        return
    if own:
        share_loops(schedule, own, steps)

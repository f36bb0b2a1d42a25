"""Loop schedules of functions that reduce rows, such as softmax and normalisations: a row stays in the nearest cache.

All steps of a function are computed row by row. A sum or maximum along a row is taken in as many parts as a vector has
lanes, and those are joined at its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay.backends.tvm.machine import Machine
from assay.backends.tvm.plain_schedules import (
    Block,
    Loop,
    Schedule,
    count_spatial,
    extent,
    is_spatial,
    list_blocks,
    share_loops,
)
from assay.backends.tvm.vendor import load_compiler

REDUCED = 2
"""TVM's number for an axis that a block reduces."""
JOINED = 4
"""Parts that are left when those of a vector are joined, before the last sum or maximum of single numbers."""


def schedule_rows(function: Any, machine: Machine) -> Schedule:  # noqa: ANN401 - TVM's has no types
    """Schedule a function that reduces along the last axis of what it reads.

    Raises:
        ValueError: the function is none of those.
    """
    schedule = load_compiler("s_tir").Schedule(function)
    _inline_steps(schedule)
    blocks = list_blocks(schedule)
    reductions = [block for block in blocks if not is_spatial(schedule, block)]
    if not reductions or not all(_reduces_row(schedule, block, machine.lanes) for block in reductions):
        raise ValueError("the function reduces no rows")
    rows = _count_rows(schedule, blocks, reductions)
    order = [part for block in blocks for part in _split_reduction(schedule, block, machine.lanes)]
    steps = [_count_steps(schedule, block) for block in order]
    *before, last = order
    loops = schedule.get_loops(last)
    row = schedule.fuse(*loops[:rows]) if rows > 1 else loops[0]
    for block in reversed(before):
        schedule.compute_at(block, row, preserve_unit_loops=True)
    if [_count_steps(schedule, block) for block in order] != steps:
        raise ValueError("a step needs more than a row of another")
    share_loops(schedule, [row], max(steps) // extent(schedule, row))
    for block in order:
        if not any(block.same_as(joined) for joined in reductions):
            _schedule_step(schedule, block, machine.lanes)
    return schedule


def _inline_steps(schedule: Schedule) -> None:
    """Compute elementwise what one elementwise block reads."""
    for block in list_blocks(schedule):
        readers = schedule.get_consumers(block)
        if len(readers) == 1 and is_spatial(schedule, block) and is_spatial(schedule, readers[0]):
            schedule.compute_inline(block)


def _reduces_row(schedule: Schedule, block: Block, lanes: int) -> bool:
    """Whether a block has one output, and its last axis is one to reduce that lies in memory as it is walked."""
    found = schedule.get(block)
    axes = found.iter_vars
    if len(axes) != len(schedule.get_loops(block)) or int(axes[-1].iter_type) != REDUCED or len(found.writes) != 1:
        return False
    walked = axes[-1].var
    if int(axes[-1].dom.extent) % lanes:
        return False
    places = [[step.min for step in read.region] for read in found.reads]
    return all(
        place[-1].same_as(walked) and not any(_mentions(index, walked) for index in place[:-1])
        for place in places
        if any(_mentions(index, walked) for index in place)
    )


def _mentions(expr: Any, variable: Any) -> bool:  # noqa: ANN401 - TVM's objects have no types
    """Whether a variable occurs in an expression."""
    return any(found.same_as(variable) for found in load_compiler("tirx.analysis").undefined_vars(expr))


def _count_rows(schedule: Schedule, blocks: Sequence[Block], reductions: Sequence[Block]) -> int:
    """Leading axes that all blocks have alike and none reduces.

    Raises:
        ValueError: there are none, or they are a single row.
    """
    sizes = [[extent(schedule, loop) for loop in schedule.get_loops(block)] for block in blocks]
    rows, most = 0, min(count_spatial(schedule, block) for block in reductions)
    while rows < most and all(len(own) > rows and own[rows] == sizes[0][rows] for own in sizes):
        rows += 1
    if not rows:
        raise ValueError("its steps have no rows in common")
    return rows


def _split_reduction(schedule: Schedule, block: Block, lanes: int) -> tuple[Block, ...]:
    """Reduce in as many parts as a vector has lanes, and then those: all blocks; else the block itself."""
    if is_spatial(schedule, block):
        return (block,)
    spatial = count_spatial(schedule, block)
    parts = []
    for size in (lanes, JOINED) if lanes > JOINED else (lanes,):
        _, lane = schedule.split(schedule.get_loops(block)[-1], [None, size])
        parts.append(schedule.rfactor(lane, spatial))
    return (*parts, block)


def _count_steps(schedule: Schedule, block: Block) -> int:
    """Times that a block is computed."""
    steps = 1
    for loop in schedule.get_loops(block):
        steps *= extent(schedule, loop)
    return steps


def _schedule_step(schedule: Schedule, block: Block, lanes: int) -> None:
    """Vectors along the last axis that a block has inside a row; of a sum or maximum, along its parts."""
    _, *loops = schedule.get_loops(block)
    reduced: list[Loop] = []
    if not is_spatial(schedule, block):
        kinds = [int(axis.iter_type) for axis in schedule.get(block).iter_vars]
        reduced = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == REDUCED]
        loops = [loop for loop, kind in zip(loops, kinds, strict=True) if kind != REDUCED]
    wide = [loop for loop in loops if extent(schedule, loop) > 1]
    if not wide:
        return
    lanes = JOINED if reduced and extent(schedule, wide[-1]) == JOINED else lanes
    if extent(schedule, wide[-1]) % lanes:
        return
    _, lane = schedule.split(wide[-1], [None, lanes])
    if reduced:
        schedule.reorder(*reduced, lane)
        schedule.vectorize(lane)
        initial = schedule.decompose_reduction(block, reduced[0])
        schedule.vectorize(schedule.get_loops(initial)[-1])
    else:
        schedule.vectorize(lane)

"""Loop schedules of products: register tiles, with what follows a product computed while its sums are still there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from assay.backends.tvm.intrinsics import QUAD, register_dot
from assay.backends.tvm.kernels import PADDING, PRODUCT
from assay.backends.tvm.machine import Machine
from assay.backends.tvm.plain_schedules import (
    SMALL,
    Block,
    Loop,
    Schedule,
    block_name,
    count_spatial,
    extent,
    is_spatial,
    list_blocks,
    schedule_blocks,
)
from assay.backends.tvm.tiles import Tile, list_tiles
from assay.backends.tvm.vendor import load_compiler

FORM = re.compile(rf"^{PRODUCT}_(\d+)x(\d+)")
UNROLLED = 9
"""Steps of a window that are written out where a product has no other inner axis."""


def find_product(schedule: Schedule) -> Block | None:
    """The block that multiplies, of a function that was made from one of ``kernels``; else None."""
    found = [block for block in list_blocks(schedule) if FORM.match(block_name(schedule, block))]
    return found[0] if len(found) == 1 else None


def list_product_tiles(function: Any, machine: Machine) -> tuple[Tile, ...]:  # noqa: ANN401 - TVM's has no types
    """Tiles to choose from for a function with a product, the one expected fastest first; empty for others."""
    schedule = load_compiler("s_tir").Schedule(function)
    product = find_product(schedule)
    if product is None:
        return ()
    lanes, _ = _read_form(schedule, product)
    axes = [axis for axis in schedule.get(product).iter_vars if int(axis.iter_type) == 0]
    rows, columns = (int(axis.dom.extent) for axis in axes[-2:])
    return list_tiles(rows, columns, lanes, machine.accumulators)


def schedule_product(function: Any, machine: Machine, tile: Tile) -> Schedule:  # noqa: ANN401 - as above
    """Schedule a function with a product and what was fused to it.

    The loops of the function's last block are tiled, and the product is computed tile by tile inside them.

    Raises:
        ValueError: the function is none of those.
    """
    schedule = load_compiler("s_tir").Schedule(function)
    product = find_product(schedule)
    if product is None:
        raise ValueError("the function multiplies nothing")
    lanes, quad = _read_form(schedule, product)
    before, last = _join(schedule, product)
    *outer, row, column = schedule.get_loops(last)
    row_outer, row_inner = schedule.split(row, [None, tile.rows])
    column_outer, vector, lane = schedule.split(column, [None, tile.vectors, lanes])
    loops = [*outer, row_outer, column_outer] if tile.outer else [*outer[:1], column_outer, *outer[1:], row_outer]
    schedule.reorder(*loops, row_inner, vector, lane)
    shared = schedule.fuse(*loops)
    schedule.compute_at(product, shared, preserve_unit_loops=True)
    schedule.set_scope(product, 0, "local")
    schedule.unroll(row_inner)
    schedule.unroll(vector)
    schedule.vectorize(lane)
    if extent(schedule, shared) > 1 and _count_steps(schedule, product) > SMALL:
        schedule.parallel(shared)
    schedule_blocks(schedule, before, machine)
    _tile_product(schedule, product, tile, lanes, quad, machine)
    return schedule


def _read_form(schedule: Schedule, product: Block) -> tuple[int, int]:
    """Lanes and quad of a product."""
    found = FORM.match(block_name(schedule, product))
    if found is None:
        raise ValueError("the block multiplies nothing")
    return int(found[1]), int(found[2])


def _join(schedule: Schedule, product: Block) -> tuple[list[Block], Block]:
    """Compute everything behind the product in the function's last block.

    Returns:
        What has to run before the product, and the last block, whose loops are the product's own.

    Raises:
        ValueError: what follows the product is not elementwise.
    """
    name = block_name(schedule, product)
    for block in list_blocks(schedule):
        readers = {block_name(schedule, reader) for reader in schedule.get_consumers(block)}
        given = block_name(schedule, block)
        inner = given != name and not given.startswith(PADDING) and is_spatial(schedule, block)
        if inner and readers and name not in readers:
            schedule.compute_inline(block)
    blocks = list_blocks(schedule)
    place = next(index for index, block in enumerate(blocks) if block_name(schedule, block) == name)
    behind = blocks[place + 1 :] or [schedule.cache_write(product, 0, "local")]
    extents = [[extent(schedule, loop) for loop in schedule.get_loops(block)] for block in (product, behind[0])]
    spatial = count_spatial(schedule, product)
    if len(behind) > 1 or extents[0][:spatial] != extents[1]:
        raise ValueError("what follows the product is not elementwise")
    return blocks[:place], behind[0]


def _count_steps(schedule: Schedule, product: Block) -> int:
    """Multiplications of a product, a dot product's four as one."""
    steps = 1
    for loop in schedule.get_loops(product):
        steps *= extent(schedule, loop)
    return steps // QUAD


def _tile_product(schedule: Schedule, product: Block, tile: Tile, lanes: int, quad: int, machine: Machine) -> None:
    """Order the loops inside a tile: the axes that are summed up outside, the tile's own inside and written out."""
    loops = schedule.get_loops(product)[1:]
    spatial = count_spatial(schedule, product)
    *unit, rows, columns = loops[:spatial]
    inner = loops[spatial:]
    parts = inner[-1:] if quad == QUAD else []
    steps: Sequence[Loop] = inner[: len(inner) - len(parts)]
    vector, lane = schedule.split(columns, [tile.vectors, lanes])
    schedule.reorder(*unit, *steps, rows, vector, lane, *parts)
    for loop in (rows, vector):
        schedule.unroll(loop)
    if not parts:
        schedule.vectorize(lane)
    initial = schedule.decompose_reduction(product, steps[0])
    *_, row, place, element = schedule.get_loops(initial)
    schedule.vectorize(element)
    schedule.unroll(place)
    schedule.unroll(row)
    if parts:
        schedule.tensorize(lane, register_dot(machine, lanes))

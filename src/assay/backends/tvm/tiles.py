"""Sizes of the tile that a product's innermost loops compute in registers."""

from __future__ import annotations

from dataclasses import dataclass

STACK_BYTES = 1024
"""Largest buffer that TVM lays on the stack, from where LLVM lifts it into registers; larger ones go to the heap."""
SUM_BYTES = 4


@dataclass(frozen=True, slots=True)
class Tile:
    """Part of a product that is held in registers.

    Attributes:
        rows: neighbouring rows, which share a vector of weights.
        vectors: neighbouring vectors of columns, which share an activation.
        outer: the rows, not the columns, are the outer one of the loops that threads divide.
    """

    rows: int
    vectors: int
    outer: bool = False

    @property
    def name(self) -> str:
        """Such as ``7x2``, with ``r`` where rows are outer."""
        return f"{self.rows}x{self.vectors}{'r' if self.outer else ''}"


def list_tiles(rows: int, columns: int, lanes: int, accumulators: int) -> tuple[Tile, ...]:
    """Tiles that divide a product exactly, the one expected fastest first.

    A step over the inner axis loads an activation for each row and a vector of weights, which come from farther and
    count twice, for ``rows * vectors`` sums: the fewer loads for a sum the better.

    Args:
        rows: of the product.
        columns: of the product, a multiple of ``lanes``.
        lanes: of a vector.
        accumulators: vectors that may hold sums.
    """
    most = min(accumulators, STACK_BYTES // (SUM_BYTES * lanes))
    blocks = columns // lanes
    pairs = [
        (count, vectors)
        for count in range(1, min(rows, most) + 1)
        if rows % count == 0
        for vectors in range(1, min(blocks, most // count) + 1)
        if blocks % vectors == 0
    ]
    pairs.sort(key=lambda pair: ((pair[0] + 2 * pair[1]) / (pair[0] * pair[1]), pair[1]))
    return tuple(Tile(*pair) for pair in pairs)

"""What a runtime really executed, as it reports it itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from assay.core.precision import ARITHMETIC, Precision


@dataclass(frozen=True, slots=True)
class NodeExecution:
    """One executed node.

    Attributes:
        name: the runtime's name of the node.
        operator: the runtime's operator type (``QLinearConv``, ``Convolution``).
        precision: format in which the arithmetic ran.
        kernel: the runtime's kernel name, such as ``brgconv_avx512_amx_i8``; empty where it does not tell.
        macs: multiply-accumulates of the node at the audited shapes; 0 for what does not multiply matrices.
        stored: format in which its weight lies in memory, where that is another one than it is multiplied in.
    """

    name: str
    operator: str
    precision: Precision
    kernel: str
    macs: int
    stored: Precision | None = None


@dataclass(frozen=True, slots=True)
class ExecutionAudit:
    """All executed nodes of one artifact on one target."""

    nodes: tuple[NodeExecution, ...]

    def shares(self) -> Mapping[Precision, float]:
        """Share of the multiply-accumulates per format; they add to 1, or are all 0 where nothing multiplies."""
        total = sum(node.macs for node in self.nodes)
        return {
            precision: (sum(n.macs for n in self.nodes if n.precision is precision) / total if total else 0.0)
            for precision in ARITHMETIC
        }

    def stored_shares(self) -> Mapping[Precision, float]:
        """Share of the multiply-accumulates with weights that lie in memory in another format, by that format."""
        total = sum(node.macs for node in self.nodes)
        found = {node.stored for node in self.nodes if node.stored is not None and node.macs}
        return {
            precision: sum(node.macs for node in self.nodes if node.stored is precision) / total
            for precision in Precision
            if precision in found
        }

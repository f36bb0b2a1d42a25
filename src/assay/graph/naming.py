"""Names for what a rewrite adds."""

from __future__ import annotations

import onnx_ir as ir


class Namer:
    """Gives names that no node and no tensor of a model has yet, in its subgraphs too."""

    def __init__(self, graph: ir.Graph) -> None:
        self._taken = {value.name for value in graph.inputs} | set(graph.initializers)
        for node in graph.all_nodes():
            self._taken.add(node.name)
            self._taken.update(value.name for value in node.outputs)
        for inner in graph.subgraphs():
            self._taken.update(value.name for value in inner.inputs)
            self._taken.update(inner.initializers)

    def name(self, stem: str) -> str:
        """The stem where it is free, else the stem with the lowest number that is."""
        found, number = stem, 1
        while found in self._taken:
            number += 1
            found = f"{stem}_{number}"
        self._taken.add(found)
        return found

"""What an attempt makes of a plan before a runtime gets it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from quantize_samples import ATTENTION, ATTENTION_SHAPES, S8S8, calibrate, draw, make

from assay.core.plan import Plan, Scheme
from assay.core.precision import Placement, Precision, RangeMethod
from assay.graph.expose import observable_tensors
from assay.graph.rounded import RoundedWeights
from assay.studies.attempt import realise_plan
from assay.studies.calibrating import Observed
from assay.studies.progress import Silent

if TYPE_CHECKING:
    from assay.studies.workspace import Workspace


@dataclass
class Listening(Silent):
    """Keeps what is said."""

    said: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)


def test_a_node_that_cannot_be_kept_in_16_bits_is_told() -> None:
    model = make(ATTENTION, ATTENTION_SHAPES)
    observed = Observed(model, calibrate(model, draw(model), observable_tensors(model)))
    calibrator = SimpleNamespace(
        observe=lambda _repairs=(): observed, observe_moments=lambda _plan: {}, rounded=RoundedWeights()
    )
    progress = Listening()
    space = cast("Workspace", SimpleNamespace(calibrator=calibrator, progress=progress))
    names = {node.op_type: str(node.name) for node in model.graph}
    scheme = Scheme(S8S8, Placement.OPERANDS, RangeMethod.MIN_MAX)
    kept = tuple((names[operator], Precision.BF16) for operator in ("Softmax", "Transpose"))
    realise_plan(space, Plan(Precision.INT8, scheme=scheme, overrides=kept))
    (said,) = progress.said
    assert f"'{names['Softmax']}' stays in fp32: Softmax loses too much in bf16" in said

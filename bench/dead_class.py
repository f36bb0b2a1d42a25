"""A class that dies unseen: what the certificate of the whole says of it, and what those of the classes say.

Run: ``python bench/dead_class.py [fashion fashion-rare photographs] [--output FILE]``. Of a trained network the output
weights of one class are set to zero, and both are scored on the same labelled items by ONNX Runtime. The certificate
of the whole passes at the tolerance given; the guard that always watches classes, and the slice rule ``class: 5pp``,
reject the variant and name the class. In ``fashion-rare`` only 60 of the class's 1,000 items are left, as in data
where a class is rare. In ``photographs`` the class has 10 items among 167 classes: too few for a proof, but also for
the certificate. Prints a table and one JSON line; ``--output`` keeps the line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from zoo.classification import EXAMPLES, FASHION, PHOTOGRAPHS, make_photographs
from zoo.pair import Places

from assay.backends.table import load_backend
from assay.core.certificate import CertificateStatus
from assay.core.plan import Plan
from assay.core.precision import Precision
from assay.core.requirements import SliceRule, Tolerance
from assay.core.session import Scores
from assay.core.target import Target
from assay.data.open import open_dataset
from assay.data.source import DataSource
from assay.measure.certification import Certified, Question, certify
from assay.measure.machine import describe_machine
from assay.measure.quality import score_dataset
from assay.measure.statistics.slices import describe_slices
from assay.measure.tasks.classification import TOP1, Classification

CONFIDENCE = 0.95
RULE = SliceRule.parse("class: 5pp")
WEIGHTED = {"Gemm", "MatMul", "Conv"}
RARE = 60


@dataclass(frozen=True)
class Case:
    """A network, its items, the class that dies, and a tolerance that the whole keeps.

    Attributes:
        dead: the class; None for the one with the most items.
        kept: items of the class that are left; None for all.
    """

    name: str
    model: Path
    items: DataSource
    tolerance: str
    dead: int | None = None
    kept: int | None = None


def list_cases() -> tuple[Case, ...]:
    """All cases."""
    fashion = EXAMPLES / "fashion"
    clothes = DataSource(str(fashion / "evaluation.npz"), FASHION)
    files = make_photographs(Places(None, EXAMPLES))
    photographs = DataSource(str(files / "evaluation.npz"), PHOTOGRAPHS)
    return (
        Case("fashion", fashion / "residual.onnx", clothes, "top1: 7pp", dead=7),
        Case("fashion-rare", fashion / "residual.onnx", clothes, "top1: 1pp", dead=7, kept=RARE),
        Case("photographs", files / "efficientnet_lite0.onnx", photographs, "top1: 8pp"),
    )


def kill_class(model: onnx.ModelProto, dead: int) -> onnx.ModelProto:
    """The same model with the weights zero that make the output of one class; its bias is left as it is.

    Raises:
        SystemExit: the model does not end in a product with stored weights.
    """
    killed = onnx.ModelProto()
    killed.CopyFrom(model)
    stored = {tensor.name: tensor for tensor in killed.graph.initializer}
    for node in reversed(killed.graph.node):
        weights = next((name for name in node.input if name in stored), None)
        if node.op_type not in WEIGHTED or weights is None:
            continue
        values = numpy_helper.to_array(stored[weights]).copy()
        turned = node.op_type == "Conv" or any(one.name == "transB" and one.i for one in node.attribute)
        values[(dead,) if turned else (..., dead)] = 0
        stored[weights].CopyFrom(numpy_helper.from_array(values, weights))
        return killed
    raise SystemExit("the model does not end in a product with stored weights")


def score(model: onnx.ModelProto, items: DataSource, folder: Path) -> Scores:
    """Item scores by ONNX Runtime."""
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    backend, target = load_backend("onnxruntime"), Target("onnxruntime", threads=2)
    (folder / "built").mkdir()
    backend.build(folder / "model.onnx", folder / "built", Plan(Precision.FP32), target)
    with backend.open(folder / "built", target) as session:
        dataset = open_dataset(items, session.signature)
        return score_dataset(session, dataset, Classification(), 50, lambda _: None).scores


def choose_items(classes: NDArray[np.int64], case: Case) -> tuple[int, NDArray[np.int64]]:
    """The class that dies, and the items that are left, in random order."""
    dead = int(np.bincount(classes).argmax()) if case.dead is None else case.dead
    order = np.random.default_rng(1).permutation(len(classes))
    own = order[classes[order] == dead]
    dropped = own[case.kept :] if case.kept is not None else own[:0]
    return dead, order[~np.isin(order, dropped)]


def ask(question: Question, reference: Scores, variant: Scores) -> Certified:
    """The certificate over all items."""

    def draw(count: int) -> tuple[Scores, Scores]:
        rows = slice(0, count)
        return reference.select(rows), variant.select(rows)

    return certify(question, draw, len(reference))


def run_case(case: Case) -> dict[str, Any]:
    """Certificates of the whole, with the guard, and with the slice rule."""
    original = onnx.load(case.model)
    with tempfile.TemporaryDirectory() as folder:
        reference = score(original, case.items, Path(folder, "float"))
        dead, rows = choose_items(reference.columns["class"].astype(np.int64), case)
        variant = score(kill_class(original, dead), case.items, Path(folder, "killed")).select(rows)
    reference = reference.select(rows)
    question = Question(TOP1, Tolerance.parse(case.tolerance), CONFIDENCE, sequential=False)
    without = [replace(one, columns={}) for one in (reference, variant)]
    whole = ask(question, without[0], without[1]).certificate
    guarded = ask(question, reference, variant).certificate
    sliced = ask(replace(question, slices=(RULE,)), reference, variant).certificate
    return {
        "case": case.name,
        "dead_class": dead,
        "items": len(reference),
        "items_of_the_class": int((reference.columns["class"] == dead).sum()),
        "tolerance": case.tolerance,
        "loss_pp": round(100 * whole.loss, 3),
        "most_pp": round(100 * whole.high, 3),
        "whole": str(whole.status),
        "guard": str(guarded.status),
        "guard_says": describe_slices(guarded.slices) if guarded.slices else "no class is proven dead",
        "slices": str(sliced.status),
        "slices_say": describe_slices(sliced.slices),
        "named": [part.value for part in sliced.slices if part.status is CertificateStatus.WORSE],
    }


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """One paragraph per case."""
    for row in rows:
        print(
            f"{row['case']}: class {row['dead_class']} dead, {row['items_of_the_class']} of {row['items']} items\n"
            f"  whole:  {row['whole']}: loses {row['loss_pp']:.2f} pp, at most {row['most_pp']:.2f} pp, "
            f"tolerated {row['tolerance']}\n"
            f"  guard:  {row['guard']}: {row['guard_says']}\n"
            f"  slices: {row['slices']}: {row['slices_say']}"
        )


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cases = list_cases()
    parser.add_argument("cases", nargs="*", help=f"any of {', '.join(case.name for case in cases)}; all by default")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = [run_case(case) for case in cases if not options.cases or case.name in options.cases]
    print_table(rows)
    line = {
        "bench": "dead_class",
        "confidence": CONFIDENCE,
        "rule": RULE.text,
        "machine": dict(describe_machine().facts()),
        "rows": rows,
    }
    print(json.dumps(line))
    if options.output is not None:
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(line), indent=1))


if __name__ == "__main__":
    main()

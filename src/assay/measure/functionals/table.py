"""Every functional that Assay knows: name -> ``module:class``, imported only when asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import cast

from assay.core.errors import RequestError
from assay.measure.functionals.functional import Functional

FUNCTIONALS = {
    "f1": "assay.measure.functionals.f1:F1",
    "precision": "assay.measure.functionals.precision:Precision",
    "recall": "assay.measure.functionals.recall:Recall",
    "auc": "assay.measure.functionals.auc:Auc",
    "average-precision": "assay.measure.functionals.binary_average_precision:BinaryAveragePrecision",
    "f1-macro": "assay.measure.functionals.f1_macro:F1Macro",
    "f1-macro-classes": "assay.measure.functionals.f1_macro_classes:F1MacroClasses",
    "f1-micro": "assay.measure.functionals.f1_micro:F1Micro",
    "pearson": "assay.measure.functionals.pearson:Pearson",
    "spearman": "assay.measure.functionals.spearman:Spearman",
    "rmse": "assay.measure.functionals.rmse:Rmse",
    "mae": "assay.measure.functionals.mae:Mae",
    "map50-95": "assay.measure.functionals.average_precision:AveragePrecision",
    "map50": "assay.measure.functionals.average_precision:AveragePrecision50",
    "average-recall": "assay.measure.functionals.box_recall:BoxRecall",
    "normalized-entropy": "assay.measure.functionals.normalized_entropy:NormalizedEntropy",
    "perplexity": "assay.measure.functionals.perplexity:Perplexity",
}
EXTRAS = {"sklearn": "metrics", "pycocotools": "detection"}
"""Module -> extra of this package that brings it."""


def load_functional(name: str) -> Functional:
    """The functional of a name.

    Raises:
        RequestError: no functional has this name, or a library that it needs is not installed.
    """
    path = FUNCTIONALS.get(name)
    if path is None:
        raise RequestError(f"functional {name!r} is unknown", f"functionals are {', '.join(FUNCTIONALS)}")
    module, _, attribute = path.partition(":")
    functional = cast("Functional", getattr(import_module(module), attribute)())
    for library in functional.libraries:
        if find_spec(library) is None:
            message = f"metric {name!r} needs the package {library!r}, which is not installed"
            raise RequestError(message, f"pip install 'assay-precision[{EXTRAS[library]}]'")
    return functional

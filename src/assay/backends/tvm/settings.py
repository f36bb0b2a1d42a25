"""What ``build`` tells ``open`` beside the model and its libraries: the file ``settings.json`` of a built folder."""

from __future__ import annotations

import msgspec

from assay.backends.settings import BuiltSettings
from assay.backends.tvm.machine import Machine
from assay.backends.tvm.products import Product
from assay.core.tensor import TensorSpec

OBJECT_SUFFIX = ".tar"
LIBRARY_SUFFIX = ".so"


class Library(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model compiled at fixed shapes.

    Attributes:
        file: in the built folder; a shared library, or an archive of object files where none could be linked.
        shapes: of the inputs, in the model's order.
        products: what multiplies in it.
        functions: its compiled functions, in the order in which they run.
    """

    file: str
    shapes: tuple[tuple[int, ...], ...]
    products: tuple[Product, ...]
    functions: tuple[str, ...]

    @property
    def linked(self) -> bool:
        """Whether it can be loaded as it is."""
        return self.file.endswith(LIBRARY_SUFFIX)


class Settings(BuiltSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a built model that its files do not say.

    Attributes:
        version: of TVM.
        machine: that it was compiled for.
        device: as the target named it.
        threads: that the libraries were compiled for.
        inputs: as the ONNX model has them.
        outputs: as the ONNX model has them.
        libraries: at the shapes that were known.
        missing: why there is no linked library, in words; empty where there is one.
    """

    version: str
    machine: Machine
    device: str
    threads: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    libraries: tuple[Library, ...]
    missing: str = ""

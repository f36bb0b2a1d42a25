"""Tensors of a function while it is rewritten: each in the forms in which something wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from assay.backends.tvm.constants import element_type, static_shape
from assay.backends.tvm.layouts import IMAGE_RANK, TO_FIRST, TO_LAST
from assay.backends.tvm.vendor import load_compiler

Expr = Any
"""An expression of Relax, which has no types."""
Builder = Any
"""Relax's block builder, which has no types either."""
HALF = 128
"""Between the signed and the unsigned code of the same number."""


@dataclass(slots=True)
class Value:
    """A tensor in one form or two.

    Attributes:
        first: as the model has it; None where nothing asked for it yet.
        last: an image with its channels last; None likewise.
    """

    first: Expr | None = None
    last: Expr | None = None

    @property
    def any(self) -> Expr:
        """One of its forms."""
        return self.first if self.first is not None else self.last

    def is_image(self) -> bool:
        """Whether it has four axes of known sizes."""
        shape = static_shape(self.any)
        return shape is not None and len(shape) == IMAGE_RANK

    def take_first(self, builder: Builder) -> Expr:
        """As the model has it; turned where it has to be."""
        if self.first is None:
            self.first = _turn(builder, self.last, TO_FIRST)
        return self.first

    def take_last(self, builder: Builder) -> Expr:
        """With its channels last; turned where it has to be."""
        if self.last is None:
            self.last = _turn(builder, self.first, TO_LAST)
        return self.last


def _turn(builder: Builder, image: Expr, axes: tuple[int, ...]) -> Expr:
    """Permute an image; one of a single pixel or a single channel keeps its order in memory."""
    op, shape = load_compiler("relax.op"), static_shape(image)
    if shape is not None and sum(size > 1 for size in shape[1:]) <= 1:
        return builder.emit(op.reshape(image, [shape[axis] for axis in axes]))
    return builder.emit(op.permute_dims(image, list(axes)))


def recode(builder: Builder, codes: Expr, kind: str) -> Expr:
    """8-bit codes in the other of the two types, moved by 128; themselves where they have it."""
    given = element_type(codes)
    if given == kind:
        return codes
    te = load_compiler("te")
    shift = HALF if kind == "uint8" else -HALF

    def move(tensor: Expr) -> Expr:
        return te.compute(tensor.shape, lambda *at: (tensor[at].astype("int16") + shift).astype(kind), name="recode")

    return builder.emit_te(move, codes, primfunc_name_hint="recode")

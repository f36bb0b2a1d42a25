"""Colours by role: drawn as placeholders that become CSS variables, so that one chart serves light and dark."""

from __future__ import annotations

import re
from enum import StrEnum

from assay.core.certificate import CertificateStatus
from assay.core.precision import Precision


class Ink(StrEnum):
    """Role of a colour; the value is the CSS variable."""

    TEXT = "--ink"
    MUTED = "--muted"
    GRID = "--grid"
    SURFACE = "--surface"
    ACCENT = "--accent"
    GOOD = "--good"
    BAD = "--bad"
    WARN = "--warn"
    FP32 = "--fp32"
    FP16 = "--fp16"
    BF16 = "--bf16"
    INT8 = "--int8"
    ON_FP32 = "--on-fp32"
    ON_FP16 = "--on-fp16"
    ON_BF16 = "--on-bf16"
    ON_INT8 = "--on-int8"
    INT4 = "--int4"
    ON_INT4 = "--on-int4"
    TF32 = "--tf32"
    ON_TF32 = "--on-tf32"
    FP8 = "--fp8"
    ON_FP8 = "--on-fp8"

    @property
    def placeholder(self) -> str:
        """Colour that stands for the role while drawing; no chart uses it otherwise."""
        return f"#7e{list(Ink).index(self):02x}c3"


PRECISION_INKS = {
    Precision.FP32: Ink.FP32,
    Precision.TF32: Ink.TF32,
    Precision.FP16: Ink.FP16,
    Precision.BF16: Ink.BF16,
    Precision.INT8: Ink.INT8,
    Precision.FP8: Ink.FP8,
    Precision.INT4: Ink.INT4,
}
"""Fill of a precision."""
TEXT_ON_PRECISION = {
    Precision.FP32: Ink.ON_FP32,
    Precision.TF32: Ink.ON_TF32,
    Precision.FP16: Ink.ON_FP16,
    Precision.BF16: Ink.ON_BF16,
    Precision.INT8: Ink.ON_INT8,
    Precision.FP8: Ink.ON_FP8,
    Precision.INT4: Ink.ON_INT4,
}
"""Text that is legible on the fill of a precision."""
PRECISION_MARKERS = {
    Precision.FP32: "s",
    Precision.TF32: "P",
    Precision.FP16: "^",
    Precision.BF16: "D",
    Precision.INT8: "o",
    Precision.FP8: "*",
    Precision.INT4: "v",
}
"""Shape of a precision, so that colour never tells it alone."""
STATUS_INKS = {
    CertificateStatus.CERTIFIED: Ink.GOOD,
    CertificateStatus.WORSE: Ink.BAD,
    CertificateStatus.OPEN: Ink.WARN,
    CertificateStatus.UNTESTED: Ink.MUTED,
}
"""Colour of what the certification items say."""
STATUS_MARKERS = {
    CertificateStatus.CERTIFIED: "o",
    CertificateStatus.WORSE: "X",
    CertificateStatus.OPEN: "D",
    CertificateStatus.UNTESTED: "s",
}
"""Shape of what the certification items say."""

PLACEHOLDERS = {ink.placeholder: ink for ink in Ink}


def resolve_inks(svg: str) -> str:
    """Replace every placeholder by its CSS variable."""
    return re.sub(r"#7e[0-9a-f]{2}c3", lambda match: f"var({PLACEHOLDERS[match[0]]})", svg)

"""What is wrong with feeds, in words: asked only after a runtime refused them."""

from __future__ import annotations

import numpy as np

from assay.core.tensor import Feeds, Signature, TensorSpec


def explain_mismatch(signature: Signature, feeds: Feeds) -> str:
    """Say how feeds differ from a signature: names, element types, shapes; empty where they fit."""
    expected = {spec.name: spec for spec in signature.inputs}
    interface = ", ".join(describe_spec(spec) for spec in signature.inputs)
    for name in feeds:
        if name not in expected:
            return f"input {name!r} does not exist; the model expects {interface}"
    sizes: dict[str, tuple[str, int]] = {}
    for name, spec in expected.items():
        if name not in feeds:
            return f"input {name!r} is missing; the model expects {interface}"
        trouble = _explain_array(spec, feeds[name], sizes)
        if trouble:
            return trouble
    return ""


def describe_spec(spec: TensorSpec) -> str:
    """A tensor in short, such as ``x: float32[N, 3, 32, 32]``."""
    shape = "[...]" if spec.shape is None else f"[{', '.join('?' if d is None else str(d) for d in spec.shape)}]"
    return f"{spec.name}: {spec.dtype}{shape}"


def _explain_array(spec: TensorSpec, value: object, sizes: dict[str, tuple[str, int]]) -> str:
    """One array against its specification; ``sizes`` collects named axes to compare among the inputs."""
    expected = f"expected {describe_spec(spec)}"
    if not isinstance(value, np.ndarray):
        return f"input {spec.name!r} is a {type(value).__name__}, not a NumPy array; {expected}"
    if value.dtype.name != spec.dtype and not (spec.dtype == "str" and value.dtype.kind in "UO"):
        return f"input {spec.name!r} has the element type {value.dtype.name}; {expected}"
    if not value.dtype.isnative:
        return f"input {spec.name!r} is not in the machine's byte order; {expected}"
    if spec.shape is None:
        return ""
    wrong = len(value.shape) != len(spec.shape) or any(
        isinstance(axis, int) and axis != size for axis, size in zip(spec.shape, value.shape, strict=True)
    )
    if wrong:
        return f"input {spec.name!r} has the shape {list(value.shape)}; {expected}"
    return _explain_axes(spec, value.shape, sizes)


def _explain_axes(spec: TensorSpec, shape: tuple[int, ...], sizes: dict[str, tuple[str, int]]) -> str:
    for axis, size in zip(spec.shape or (), shape, strict=True):
        if isinstance(axis, str):
            other, known = sizes.setdefault(axis, (spec.name, size))
            if known != size:
                return f"axis {axis!r} is {known} in input {other!r} and {size} in input {spec.name!r}"
    return ""


def is_native(feeds: Feeds) -> bool:
    """Whether all arrays are in the machine's byte order: a runtime that takes their memory does not look."""
    return all(array.dtype.isnative for array in feeds.values())

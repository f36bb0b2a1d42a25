"""The content hash of a model: what it computes and with which weights, not where it lies."""

from __future__ import annotations

import hashlib

import onnx_ir as ir


def hash_model(model: ir.Model) -> str:
    """SHA-256 over graph, functions and weights, hexadecimal; the same in every process.

    Weights are hashed one by one, so that memory beyond the model holds one of them.

    Args:
        model: left as it is.
    """
    digest = hashlib.sha256()
    for name in sorted(model.graph.initializers):
        tensor = model.graph.initializers[name].const_value
        if tensor is not None:
            digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            digest.update(tensor.tobytes())
    lean = model.clone()
    for value in lean.graph.initializers.values():
        value.const_value = None
    lean.graph.initializers.clear()
    digest.update(ir.to_proto(lean).SerializeToString(deterministic=True))
    return digest.hexdigest()

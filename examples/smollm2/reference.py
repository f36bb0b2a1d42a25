"""The decoder once more, in float64 NumPy, from the checkpoint's own layout: what the graph is checked against."""

import numpy as np
from decoder_graph import Configuration
from gguf import GGUFReader, dequantize
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def compute_logits(reader: GGUFReader, size: Configuration, tokens: NDArray[np.int64]) -> Floats:
    """Logits of one text, ``[tokens, vocabulary]``, without a cache.

    The rows of query and key weights stay as the file has them: the two numbers of a rotated pair lie side by side.
    """
    weights = {t.name: dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}
    hidden = weights["token_embd.weight"][tokens]
    angles = np.outer(np.arange(len(tokens)), size.base ** (-np.arange(0, size.head_size, 2) / size.head_size))
    turn = np.exp(1j * angles)[:, None, :]
    unseen = np.triu(np.full((len(tokens), len(tokens)), -np.inf), 1)
    for layer in range(size.layers):
        own = {name.removeprefix(f"blk.{layer}."): w for name, w in weights.items() if name.startswith(f"blk.{layer}.")}
        hidden = hidden + attend(own, size, norm(hidden, own["attn_norm.weight"], size), turn, unseen)
        normed = norm(hidden, own["ffn_norm.weight"], size)
        gate = normed @ own["ffn_gate.weight"].T
        hidden = hidden + (gate / (1 + np.exp(-gate)) * (normed @ own["ffn_up.weight"].T)) @ own["ffn_down.weight"].T
    logits: Floats = norm(hidden, weights["output_norm.weight"], size) @ weights["token_embd.weight"].T
    return logits


def norm(hidden: Floats, scale: Floats, size: Configuration) -> Floats:
    """Root mean square norm."""
    normed: Floats = hidden / np.sqrt((hidden**2).mean(axis=-1, keepdims=True) + size.epsilon) * scale
    return normed


def attend(
    own: dict[str, Floats], size: Configuration, normed: Floats, turn: NDArray[np.complex128], unseen: Floats
) -> Floats:
    """Attention head by head; pairs are turned as complex numbers."""
    count = len(normed)

    def project(kind: str, heads: int) -> Floats:
        return (normed @ own[f"attn_{kind}.weight"].T).reshape(count, heads, size.head_size)

    def rotate(heads: Floats) -> Floats:
        pairs = (heads[..., 0::2] + 1j * heads[..., 1::2]) * turn
        return np.stack([pairs.real, pairs.imag], axis=-1).reshape(heads.shape)

    query = rotate(project("q", size.heads))
    key, value = rotate(project("k", size.cached_heads)), project("v", size.cached_heads)
    mixed = np.empty_like(query)
    for head in range(size.heads):
        other = head * size.cached_heads // size.heads
        scores = query[:, head] @ key[:, other].T / np.sqrt(size.head_size) + unseen
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        mixed[:, head] = shares / shares.sum(axis=1, keepdims=True) @ value[:, other]
    attended: Floats = mixed.reshape(count, -1) @ own["attn_output.weight"].T
    return attended

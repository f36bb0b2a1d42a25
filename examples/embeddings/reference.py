"""The encoder once more, in float64 NumPy, text by text: what the graph is checked against."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf
from sentence_encoder import EPSILON, HEADS, LAYERS, WIDTH, Tensors

Floats = NDArray[np.float64]


def embed_text(tensors: Tensors, tokens: NDArray[np.int64]) -> Floats:
    """Vector of one text without anything to fill it up, ``[384]`` of the length 1.

    Args:
        tensors: by their published names; every weight is ``[out, in]``.
        tokens: ``[t]``, special ones among them.
    """
    x = np.zeros((len(tokens), WIDTH))
    for place, token in enumerate(tokens):
        x[place] += tensors["embeddings.word_embeddings.weight"][token]
        x[place] += tensors["embeddings.position_embeddings.weight"][place]
        x[place] += tensors["embeddings.token_type_embeddings.weight"][0]
    x = norm(tensors, "embeddings.LayerNorm", x)
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        x = norm(tensors, f"{name}.attention.output.LayerNorm", x + attend(tensors, f"{name}.attention", x))
        inner = apply(tensors, f"{name}.intermediate.dense", x)
        inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
        x = norm(tensors, f"{name}.output.LayerNorm", x + apply(tensors, f"{name}.output.dense", inner))
    mean: Floats = x.mean(axis=0)
    return mean / np.sqrt(mean @ mean)


def apply(tensors: Tensors, name: str, x: Floats) -> Floats:
    """A linear layer."""
    weight, bias = (tensors[f"{name}.{part}"].astype(np.float64) for part in ("weight", "bias"))
    product: Floats = np.einsum("ti,oi->to", x, weight) + bias
    return product


def norm(tensors: Tensors, name: str, x: Floats) -> Floats:
    """A layer norm."""
    centred = x - x.mean(axis=1, keepdims=True)
    scaled: Floats = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + EPSILON)
    return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def attend(tensors: Tensors, name: str, x: Floats) -> Floats:
    """Attention, head by head."""
    query, key, value = (apply(tensors, f"{name}.self.{part}", x) for part in ("query", "key", "value"))
    size = WIDTH // HEADS
    found = np.empty_like(x)
    for head in range(HEADS):
        own = slice(head * size, (head + 1) * size)
        score = np.exp(query[:, own] @ key[:, own].T / np.sqrt(size))
        found[:, own] = score / score.sum(axis=1, keepdims=True) @ value[:, own]
    return apply(tensors, f"{name}.output.dense", found)

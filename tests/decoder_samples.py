"""A tiny decoder with a cache, its tokenizer, and texts that it is at home in."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
from tokenizers import Tokenizer, models, pre_tokenizers

GRAPH = Path(__file__).parents[1] / "examples" / "smollm2" / "decoder_graph.py"
WORDS = 48
CONTEXT = 64
END = "<|endoftext|>"


def load_graph() -> ModuleType:
    """The module of the example that builds decoders."""
    spec = importlib.util.spec_from_file_location("decoder_graph", GRAPH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def write_decoder(path: Path, rng: np.random.Generator, layers: int = 2) -> None:
    """A decoder whose weights are random, sharp enough that some next words are much likelier than others."""
    graph = load_graph()
    size = graph.Configuration(layers, 32, 64, 4, 2, 8, WORDS + 1, CONTEXT, 1e4, 1e-5)
    weights = {
        "token_embd.weight": rng.normal(0, 1, (WORDS + 1, 32)),
        "output.weight": rng.normal(0, 0.4, (WORDS + 1, 32)),
        "output_norm.weight": np.ones(32),
    }
    shapes = {
        "attn_q": (32, 32),
        "attn_k": (16, 32),
        "attn_v": (16, 32),
        "attn_output": (32, 32),
        "ffn_gate": (64, 32),
        "ffn_up": (64, 32),
        "ffn_down": (32, 64),
    }
    for layer in range(layers):
        for name, shape in shapes.items():
            weights[f"blk.{layer}.{name}.weight"] = rng.normal(0, shape[1] ** -0.5, shape)
        for name in ("attn_norm", "ffn_norm"):
            weights[f"blk.{layer}.{name}.weight"] = np.ones(32)
    onnx.save(graph.build_decoder(size, {name: value.astype(np.float32) for name, value in weights.items()}), path)


def write_tokenizer(path: Path) -> None:
    """Words ``w0`` to ``w47``, and one token that is none of them."""
    vocabulary = {f"w{number}": number for number in range(WORDS)} | {END: WORDS}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(path))


def write_texts(path: Path, rng: np.random.Generator, count: int, longest: int = 20) -> None:
    """Texts of 4 words and more, as JSON lines."""
    lengths = rng.integers(4, longest + 1, count)
    texts = [" ".join(f"w{number}" for number in rng.integers(0, WORDS, length)) for length in lengths]
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")

"""Reads a Llama-like checkpoint from a GGUF file: configuration, weights in float32, vocabulary and merges."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from decoder_graph import Configuration, Weights
from gguf import GGUFReader, Keys, dequantize

CONTROL_TOKEN = 3
"""``LLAMA_TOKEN_TYPE_CONTROL``: never split by the tokenizer, and never part of a text."""


def read_configuration(reader: GGUFReader) -> Configuration:
    """Sizes from the file's metadata."""

    def get(key: str) -> Any:  # noqa: ANN401 - numbers and texts, as the key has it
        field = reader.get_field(key.format(arch="llama"))
        if field is None:
            raise SystemExit(f"the GGUF file has no {key!r}: it is no Llama-like checkpoint")
        return field.contents()

    hidden, heads = get(Keys.LLM.EMBEDDING_LENGTH), get(Keys.Attention.HEAD_COUNT)
    return Configuration(
        layers=get(Keys.LLM.BLOCK_COUNT),
        hidden=hidden,
        inner=get(Keys.LLM.FEED_FORWARD_LENGTH),
        heads=heads,
        cached_heads=get(Keys.Attention.HEAD_COUNT_KV),
        head_size=hidden // heads,
        vocabulary=get(Keys.LLM.VOCAB_SIZE),
        context=get(Keys.LLM.CONTEXT_LENGTH),
        base=get(Keys.Rope.FREQ_BASE),
        epsilon=get(Keys.Attention.LAYERNORM_RMS_EPS),
    )


def read_weights(reader: GGUFReader, configuration: Configuration) -> Weights:
    """All weights by their names in the file, ``[out, in] float32``; 4-bit and 8-bit blocks are multiplied out.

    GGUF keeps the rows of a head's query and key weights with the two halves of each rotated pair side by side; they
    are put back to one half after the other, which is how the rotation is written in ``decoder_graph.py``.
    """
    weights = {tensor.name: dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    for name, weight in weights.items():
        if name.endswith(("attn_q.weight", "attn_k.weight")):
            pairs = weight.reshape(-1, configuration.head_size // 2, 2, weight.shape[1])
            weights[name] = np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(weight.shape)
    return weights


def write_tokenizer(reader: GGUFReader, path: Path) -> None:
    """Write the file's vocabulary and merges as a ``tokenizer.json``.

    A byte-level BPE as GPT-2's, whose text is split first with every digit for itself (``tokenizer.ggml.pre`` is
    ``smollm``).
    """
    model, pre = (reader.get_field(f"tokenizer.ggml.{key}").contents() for key in ("model", "pre"))
    if (model, pre) != ("gpt2", "smollm"):
        raise SystemExit(f"the tokenizer is {model!r} with {pre!r}, expected 'gpt2' with 'smollm'")
    tokens, kinds, merges = (
        reader.get_field(f"tokenizer.ggml.{key}").contents() for key in ("tokens", "token_type", "merges")
    )
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": tokens[number], **flags}
            for number, kind in enumerate(kinds)
            if kind == CONTROL_TOKEN
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, level]},
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in merges],
        },
    }
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")

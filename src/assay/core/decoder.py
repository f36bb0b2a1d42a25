"""How a language model is fed: token ids, what belongs to them, and the cache of keys and values.

The rule is by names and shapes, as Hugging Face Optimum, PyTorch's exporter and OpenVINO write them; there is no other
convention to go by. What a model takes beside the token ids can thus be made up for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.core.tensor import Signature, TensorSpec

IDS = "input_ids"
MASK = "attention_mask"
POSITIONS = "position_ids"
TYPES = "token_type_ids"
BEAMS = "beam_idx"
PAST, PRESENT, CACHE = "past", "present", "cache"
LOGITS = "logits"
LEAST_RANK = 3
"""Of a cache: items, places and channels, mostly with heads between."""


@dataclass(frozen=True, slots=True)
class CacheTensor:
    """A tensor that a call leaves behind for the next one.

    Attributes:
        past: the input.
        present: name of the output that becomes the next call's ``past``.
        axis: of the places, which grows by one with every token.
    """

    past: TensorSpec
    present: str
    axis: int


@dataclass(frozen=True, slots=True)
class Decoder:
    """What a language model with a cache takes and gives, by name.

    Attributes:
        logits: the output ``[batch, tokens, vocabulary]``.
        mask: the attention mask, over what is cached and what is new; empty where the model takes none.
        positions: of the new tokens; empty where the model takes none.
        beams: row of the cache that every item goes on from; empty where the model takes none.
    """

    ids: TensorSpec
    logits: str
    caches: tuple[CacheTensor, ...]
    mask: str = ""
    positions: str = ""
    beams: str = ""

    @property
    def length_of(self) -> CacheTensor:
        """The cache whose length is looked at: all have the same."""
        return self.caches[0]


def is_cache(spec: TensorSpec) -> bool:
    """Whether an input is a cache that can be empty: its name says so, and one axis behind the items is dynamic."""
    named = any(word in spec.name.lower() for word in (PAST, CACHE))
    return named and spec.shape is not None and len(spec.shape) >= LEAST_RANK and len(_list_dynamic(spec)) == 1


def is_integer(spec: TensorSpec, rank: int) -> bool:
    """Whether an input takes integers, with so many axes."""
    return spec.dtype.startswith(("int", "uint")) and spec.shape is not None and len(spec.shape) == rank


def read_decoder(signature: Signature) -> Decoder | None:
    """What a model with a cache takes; None where it is no such model, or takes something that nobody can make up."""
    inputs = {spec.name: spec for spec in signature.inputs}
    caches = find_caches(signature)
    ids = inputs.get(IDS)
    logits = find_logits(signature)
    if ids is None or not caches or not logits:
        return None
    known = {IDS, MASK, POSITIONS, BEAMS, *(cache.past.name for cache in caches)}
    if inputs.keys() - known:
        return None
    mask, positions, beams = (name if name in inputs else "" for name in (MASK, POSITIONS, BEAMS))
    return Decoder(ids, logits, caches, mask, positions, beams)


def find_logits(signature: Signature) -> str:
    """The output with a row of logits for each token; empty where there is none."""
    wide = [spec.name for spec in signature.outputs if spec.shape is not None and len(spec.shape) == LEAST_RANK]
    return LOGITS if LOGITS in wide else next(iter(wide), "")


def find_caches(signature: Signature) -> tuple[CacheTensor, ...]:
    """The caches with the outputs that go on from them; none where they cannot be told apart."""
    pasts = [spec for spec in signature.inputs if is_cache(spec)]
    outputs = [spec.name for spec in signature.outputs]
    named = [_find_present(spec.name, outputs) for spec in pasts]
    if not all(named) or len(set(named)) < len(named):
        # Other names: the outputs that are no logits, where there are as many, in the same order.
        left = [name for name in outputs if PRESENT in name.lower() or CACHE in name.lower()]
        named = left if len(left) == len(pasts) else []
    return tuple(
        CacheTensor(spec, name, _list_dynamic(spec)[0]) for spec, name in zip(pasts, named, strict=False) if named
    )


def _find_present(past: str, outputs: Sequence[str]) -> str:
    """The output whose name is the cache's with another word for what is past."""
    for old in ("past_key_values", "past_key", "past"):
        for new in (PRESENT, f"{PRESENT}_key_values", f"{PRESENT}_key"):
            name = past.replace(old, new)
            if name != past and name in outputs:
                return name
    return ""


def _list_dynamic(spec: TensorSpec) -> list[int]:
    """Dynamic axes behind the items."""
    return [axis for axis, size in enumerate(spec.shape or ()) if axis and not isinstance(size, int)]

"""Feeds of a language model that generates: whole prompts, and single steps with the context in the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.core.decoder import IDS, Decoder, is_integer, read_decoder
from assay.core.session import Dataset
from assay.core.tensor import Array, Feeds, Signature
from assay.data.derived import derive_inputs

SEED = 0
"""Of what stands in the cache while steps are timed: numbers of the usual size, since none of them takes longer."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A language model and some of its tokens.

    Attributes:
        decoder: how it is fed with a cache; None where it has none, so that every token takes a whole call.
        tokens: ``[t] int64`` real tokens, from which prompts of any length are made.
    """

    signature: Signature
    decoder: Decoder | None
    tokens: NDArray[np.int64]

    def make_prompt(self, context: int, batch: int) -> Feeds:
        """Feeds of a call with whole prompts, ``batch`` of ``context`` tokens."""
        index = (np.arange(context) + 7 * np.arange(batch)[:, np.newaxis]) % len(self.tokens)
        spec = next(spec for spec in self.signature.inputs if spec.name == IDS)
        return derive_inputs({IDS: self.tokens[index].astype(np.dtype(spec.dtype))}, self.signature)

    def make_step(self, context: int, batch: int) -> Feeds | None:
        """Feeds of a call with one new token of each text behind ``context`` tokens in the cache; None without one."""
        decoder = self.decoder
        if decoder is None:
            return None
        prompt = self.make_prompt(1, batch)
        rng = np.random.default_rng(SEED)
        cache = {one.past.name: one.axis for one in decoder.caches}
        feeds: dict[str, Array] = {}
        for name, array in prompt.items():
            if name in cache:
                shape = list(array.shape)
                shape[cache[name]] = context
                feeds[name] = rng.standard_normal(shape, np.float32).astype(array.dtype)
            elif name == decoder.mask:
                feeds[name] = np.ones((batch, context + 1), array.dtype)
            elif name == decoder.positions:
                feeds[name] = np.full((batch, 1), context, array.dtype)
            elif name == decoder.beams:
                feeds[name] = np.arange(batch, dtype=array.dtype)
            else:
                feeds[name] = array
        return feeds


def measure_cache(decoder: Decoder | None, feeds: Feeds | None) -> int:
    """Bytes of the cache that a step's feeds hold."""
    if decoder is None or feeds is None:
        return 0
    return sum(feeds[one.past.name].nbytes for one in decoder.caches)


def find_speaker(signature: Signature, dataset: Dataset) -> Speaker | None:
    """A language model with tokens of its data; None where the model takes or gives something else.

    A language model takes ``input_ids [batch, tokens]`` of any length, and everything else can be made up for it.
    """
    specs = {spec.name: spec for spec in signature.inputs}
    ids = specs.get(IDS)
    if ids is None or not is_integer(ids, 2) or not _takes_any_length(ids.shape):
        return None
    feeds = next(iter(dataset.batches(1))).feeds
    tokens = feeds[IDS].reshape(-1).astype(np.int64)
    if not tokens.size or derive_inputs({IDS: feeds[IDS]}, signature).keys() != specs.keys():
        return None
    return Speaker(signature, read_decoder(signature), tokens)


def _takes_any_length(shape: tuple[int | str | None, ...] | None) -> bool:
    return shape is not None and not any(isinstance(axis, int) for axis in shape)


def list_points(contexts: tuple[int, ...], batches: tuple[int, ...]) -> Mapping[tuple[int, int], int]:
    """Pairs of context and batch with their tokens, those with fewer tokens first: so memory only grows."""
    pairs = {(context, batch): context * batch for context in contexts for batch in batches}
    return dict(sorted(pairs.items(), key=lambda pair: pair[1]))

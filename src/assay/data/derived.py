"""Inputs of a language model that its data need not have: made up from the token ids by a rule, in this one place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from assay.core.decoder import BEAMS, IDS, MASK, POSITIONS, TYPES, is_cache, is_integer
from assay.core.tensor import Array, Feeds, Signature, TensorSpec
from assay.data.validation import find_dtype

Make = Callable[[Feeds, TensorSpec], Array]
"""Makes an input ``[n, ...]`` out of the others."""


def find_derived(signature: Signature, present: Collection[str]) -> Mapping[str, Make]:
    """How to make the inputs that the data does not have, by name, in the order in which they can be made.

    - ``attention_mask``: all ones.
    - ``position_ids``: from 0 for each item, counted over what the mask lets through.
    - ``token_type_ids``: all zeros.
    - the cache: empty, a length of 0.
    - ``beam_idx``: zeros; of an empty cache every row is the same.

    Args:
        signature: of the model.
        present: names of what the data has.
    """
    inputs = {spec.name: spec for spec in signature.inputs}
    if IDS not in inputs or not is_integer(inputs[IDS], 2):
        return {}
    known = ((MASK, _admit_all, 2), (TYPES, _fill_zeros, 2), (POSITIONS, _count_places, 2), (BEAMS, _choose_first, 1))
    rules = {name: make for name, make, rank in known if name in inputs and is_integer(inputs[name], rank)}
    rules |= {spec.name: _make_empty for spec in signature.inputs if is_cache(spec)}
    return {name: make for name, make in rules.items() if name not in present}


def read_for(signature: Signature, stored: Collection[str]) -> Signature:
    """The interface that data is read for: without the inputs that it does not have and that are made up.

    Args:
        signature: of the model.
        stored: names of what the data has.
    """
    made = find_derived(signature, stored)
    return Signature(tuple(spec for spec in signature.inputs if spec.name not in made), signature.outputs)


def derive_inputs(feeds: Feeds, signature: Signature) -> Feeds:
    """Feeds with whatever of the model's inputs they lack and can be made up, in the order of the signature."""
    rules = find_derived(signature, feeds.keys())
    if not rules or IDS not in feeds:
        return feeds
    specs = {spec.name: spec for spec in signature.inputs}
    made = dict(feeds)
    for name, make in rules.items():
        made[name] = make(made, specs[name])
    return made


def _admit_all(feeds: Feeds, spec: TensorSpec) -> Array:
    return np.ones(feeds[IDS].shape, find_dtype(spec))


def _fill_zeros(feeds: Feeds, spec: TensorSpec) -> Array:
    return np.zeros(feeds[IDS].shape, find_dtype(spec))


def _count_places(feeds: Feeds, spec: TensorSpec) -> Array:
    """Places ``[n, t]`` of the tokens that the mask lets through; what is before the first of them stands at 0."""
    mask = feeds[MASK] if MASK in feeds else np.ones(feeds[IDS].shape, np.int64)
    places: Array = np.maximum(np.cumsum(mask != 0, axis=1) - 1, 0).astype(find_dtype(spec))
    return places


def _choose_first(feeds: Feeds, spec: TensorSpec) -> Array:
    return np.zeros(len(feeds[IDS]), find_dtype(spec))


def _make_empty(feeds: Feeds, spec: TensorSpec) -> Array:
    behind = (axis if isinstance(axis, int) else 0 for axis in (spec.shape or ())[1:])
    return np.zeros((len(feeds[IDS]), *behind), find_dtype(spec))

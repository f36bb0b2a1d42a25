"""Items of different lengths: how each is filled up to a length of its own bucket, or trimmed to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from assay.core.errors import DataError, RequestError
from assay.core.session import Batch
from assay.core.tensor import Array, Feeds, Signature, TensorSpec
from assay.data.validation import Locate

SHORTEST = 16
"""First of the usual buckets; each further one is twice as long."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """How items of different lengths become batches.

    The length of an item is that of its first axis. An item is filled up at its end to the shortest bucket that takes
    it, so it is the same array in whatever batch it lies. Without buckets nothing is filled up: only items that are
    equally long share a batch.

    Attributes:
        buckets: lengths, rising; empty for the items' own.
        pad: input -> number that fills it up; 0 for inputs that are not named.
        mask: input that is 0 where items were filled up when they were stored: what is 0 at an item's end is cut off.
            Empty where items are stored in their own lengths.

    Raises:
        RequestError: the buckets do not rise, or a number is not finite.
    """

    buckets: tuple[int, ...] = ()
    pad: tuple[tuple[str, float], ...] = ()
    mask: str = ""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if any(low >= high for low, high in pairwise((0, *self.buckets))):
            message = f"lengths.buckets is {list(self.buckets)}"
            raise RequestError(message, "give rising lengths of 1 or more, such as [16, 32, 64]")
        if not all(math.isfinite(number) for _, number in self.pad):
            raise RequestError(f"lengths.pad is {dict(self.pad)}", "give finite numbers")

    def find_bucket(self, length: int) -> int | None:
        """The length that an item is filled up to; None where it is longer than all buckets."""
        if not self.buckets:
            return length
        return next((bucket for bucket in self.buckets if bucket >= length), None)


def usual_buckets(longest: int) -> tuple[int, ...]:
    """16, 32, 64 and so on, the last one ``longest`` itself."""
    found = []
    length = SHORTEST
    while length < longest:
        found.append(length)
        length *= 2
    return (*found, longest)


def list_open(signature: Signature) -> tuple[str, ...]:
    """Inputs whose items have a first axis of open length."""
    return tuple(spec.name for spec in signature.inputs if _is_fillable(spec, ()))


def list_fillable(lengths: Lengths, signature: Signature) -> tuple[str, ...]:
    """Inputs that items of some lengths can be filled up for: their length is open, or fixed at one of the buckets."""
    return tuple(spec.name for spec in signature.inputs if _is_fillable(spec, lengths.buckets))


def _is_fillable(spec: TensorSpec, fixed: Sequence[int]) -> bool:
    if spec.shape is None:
        return True
    return len(spec.shape) > 1 and (not isinstance(spec.shape[1], int) or spec.shape[1] in fixed)


def check_lengths(lengths: Lengths, signature: Signature) -> tuple[str, ...]:
    """Inputs that are filled up.

    Raises:
        RequestError: the model takes items of one length only, or a name is none of its inputs.
    """
    names = list_fillable(lengths, signature)
    known = [spec.name for spec in signature.inputs]
    for name in (*(name for name, _ in lengths.pad), *((lengths.mask,) if lengths.mask else ())):
        if name not in known:
            raise RequestError(f"preprocess.lengths names {name!r}", f"the model's inputs are {', '.join(known)}")
    if not names:
        message = "preprocess.lengths is declared, and the model fixes the length of its inputs"
        raise RequestError(message, "leave it out, or export the model with an axis of open length")
    return names


class Fitter:
    """Brings items of one length each to the length of their bucket.

    Args:
        lengths: what is declared.
        signature: the model's interface.

    Raises:
        RequestError: they do not fit each other.
    """

    def __init__(self, lengths: Lengths, signature: Signature) -> None:
        self._lengths = lengths
        self._names = check_lengths(lengths, signature)
        self._pads = dict(lengths.pad)

    def fit(self, batch: Batch, locate: Locate) -> Feeds:
        """The feeds of one item, trimmed and filled up.

        Raises:
            DataError: it is longer than every bucket, or has nothing in it.
        """
        feeds = self._trim(batch.feeds, locate(batch.start))
        lengths = {name: feeds[name].shape[1] for name in self._names if name in feeds and feeds[name].ndim > 1}
        fitted = dict(feeds)
        for name, length in lengths.items():
            where = f"{locate(batch.start)}: input {name!r}"
            if not length:
                raise DataError(f"{where} has the length 0", "leave the item out")
            wanted = self._lengths.find_bucket(length)
            if wanted is None:
                longest = self._lengths.buckets[-1]
                message = f"{where} has the length {length}, and the longest bucket is {longest}"
                raise DataError(message, "cut the item, or add a longer bucket that the model can take")
            fitted[name] = fill_up(feeds[name], wanted, self._pads.get(name, 0))
        return fitted

    def _trim(self, feeds: Feeds, where: str) -> Feeds:
        """The feeds without what the mask says was filled up beyond the bucket."""
        mask = feeds.get(self._lengths.mask) if self._lengths.mask else None
        if mask is None or mask.ndim < 2:  # noqa: PLR2004 - an item axis and that of the length
            return feeds
        kept = np.flatnonzero(np.any(mask != 0, axis=(0, *range(2, mask.ndim))))
        if not kept.size:
            raise DataError(f"{where}: the mask {self._lengths.mask!r} is 0 throughout", "leave the item out")
        end, whole = self._lengths.find_bucket(int(kept[-1]) + 1), mask.shape[1]
        return {
            name: array[:, :end] if name in self._names and array.ndim > 1 and array.shape[1] == whole else array
            for name, array in feeds.items()
        }


def fill_up(array: Array, length: int, number: float) -> Array:
    """``[n, t, ...]`` as ``[n, length, ...]``, filled up at the end of the second axis."""
    short = length - array.shape[1]
    if short <= 0:
        return array
    widths = [(0, 0), (0, short), *((0, 0) for _ in array.shape[2:])]
    return np.pad(array, widths, constant_values=array.dtype.type(number))


def widen(feeds: Feeds, lengths: Lengths) -> Feeds:
    """Items of one length each, all filled up to the longest bucket, as a set stores them.

    Raises:
        DataError: no mask would tell what was filled up.
    """
    if not lengths.buckets or not lengths.mask:
        message = "items of different lengths can be stored in a set only where an input masks what fills them up"
        raise DataError(message, 'name it, and the buckets: preprocess.lengths.mask = "attention_mask"')
    length = feeds[lengths.mask].shape[1]
    pads = dict(lengths.pad)
    return {
        name: fill_up(array, lengths.buckets[-1], pads.get(name, 0))
        if array.ndim > 1 and array.shape[1] == length
        else array
        for name, array in feeds.items()
    }


def measure_length(feeds: Feeds, names: Sequence[str]) -> int:
    """The length of the items of a batch: of the longest of some inputs; 1 where none of them has a length."""
    return max((feeds[name].shape[1] for name in names if name in feeds and feeds[name].ndim > 1), default=1)


def key_shapes(feeds: Mapping[str, Array]) -> tuple[tuple[int, ...], ...]:
    """What single items must have in common to share a batch: shapes of inputs, the number of their rows included."""
    return tuple(feeds[name].shape for name in sorted(feeds))

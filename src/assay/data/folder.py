"""Reads folders of encoded images with their labels."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.core.errors import DataError, RequestError
from assay.core.session import Batch
from assay.core.tensor import Array, Signature
from assay.data.batching import Item, collate
from assay.data.folder_columns import read_folder_columns
from assay.data.image import decode_image
from assay.data.listing import ListedImage, list_images
from assay.data.source import DataSource

_AHEAD_PER_THREAD = 2


class FolderReader:
    """Images of a folder, decoded by a bounded number of threads.

    Raises:
        DataError: there are no images, or images and labels do not match.
        RequestError: no preprocessing is declared, or the model takes more than one input.
    """

    def __init__(self, source: DataSource, signature: Signature) -> None:
        images = list_images(Path(source.path))
        if source.preprocess is None:
            message = f"{source.path} is a folder of images, and no preprocessing is declared"
            raise RequestError(message, "declare preprocess: resize, crop, layout, scale, mean, std")
        inputs = [spec.name for spec in signature.inputs]
        if len(inputs) != 1:
            message = f"a folder of images cannot feed the inputs {inputs}"
            raise RequestError(message, "store all inputs in an .npz or .parquet file")
        self._preprocess = source.preprocess
        self._threads = source.threads
        self._folder = Path(source.path)
        self._images = images
        self._input = inputs[0]
        self._columns = read_folder_columns(self._folder, self._images, source.columns)

    @property
    def labelled(self) -> bool:
        """Whether the images have labels."""
        return self._images[0].label is not None

    @property
    def encoded(self) -> str:
        """The model's only input."""
        return self._input

    def __len__(self) -> int:
        """Number of images."""
        return len(self._images)

    def locate(self, item: int) -> str:
        """The image's file."""
        return str(self._folder / self._images[item].name) if item < len(self) else str(self._folder)

    def digest(self) -> str:
        """SHA-256 over the names below the folder, the labels and the files."""
        return self._digest

    def read(self, size: int) -> Generator[Batch, None, None]:
        """All images in order, ``size`` at a time, ``[n, H, W, C] uint8``.

        Raises:
            DataError: an image cannot be decoded, or images of one batch differ in size.
        """
        for batch in collate(self._decode_ahead(self._images), size, self.locate):
            yield self._label(batch, slice(batch.start, batch.start + batch.size))

    @property
    def seekable(self) -> bool:
        """Every image is a file of its own."""
        return True

    def read_at(self, items: NDArray[np.int64], size: int) -> Generator[Batch, None, None]:
        """Some images, ``size`` at a time; no others are opened.

        Raises:
            DataError: as for `read`.
        """
        images = [self._images[item] for item in items]
        for batch in collate(self._decode_ahead(images), size, lambda place: self.locate(int(items[place]))):
            yield self._label(batch, items[batch.start : batch.start + batch.size])

    def read_columns(self) -> Mapping[str, Array]:
        """The columns of all images; no image is opened."""
        return self._columns

    def read_labels(self) -> Array | None:
        """The labels of all images; no image is opened."""
        known = [image.label for image in self._images if image.label is not None]
        return np.array(known, np.int64) if len(known) == len(self._images) else None

    def _label(self, batch: Batch, items: slice | NDArray[np.int64]) -> Batch:
        return replace(batch, columns={name: values[items] for name, values in self._columns.items()})

    @cached_property
    def _digest(self) -> str:
        total = hashlib.sha256()
        for image in self._images:
            content = hashlib.sha256(self._read_file(image)).hexdigest()
            total.update(f"{image.name}\0{image.label}\0{content}\n".encode())
        return total.hexdigest()

    def _decode_ahead(self, images: Sequence[ListedImage]) -> Iterator[Item]:
        if self._threads == 1:
            yield from map(self._decode, images)
            return
        with ThreadPoolExecutor(self._threads) as pool:
            under_way: deque[Future[Item]] = deque()
            try:
                for image in images:
                    under_way.append(pool.submit(self._decode, image))
                    if len(under_way) >= self._threads * _AHEAD_PER_THREAD:
                        yield under_way.popleft().result()
                while under_way:
                    yield under_way.popleft().result()
            finally:
                for future in under_way:
                    future.cancel()

    def _decode(self, image: ListedImage) -> Item:
        pixels = decode_image(self._read_file(image), self._preprocess, str(self._folder / image.name))
        label = None if image.label is None else np.array(image.label, dtype=np.int64)
        return Item(feeds={self._input: pixels}, target=label)

    def _read_file(self, image: ListedImage) -> bytes:
        path = self._folder / image.name
        try:
            return path.read_bytes()
        except OSError as err:
            raise DataError(f"{path} cannot be read: {err.strerror}") from err

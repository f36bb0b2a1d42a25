"""Labelled inputs streamed in constant memory from npz, images, Parquet, Arrow, functions and stored calibration sets.

Must not know: models, runtimes, metrics, how a request is written.
Public: ``open.open_dataset``, ``source.DataSource``, ``source.Preprocess``, ``cache.remember``, ``subset.first``,
``calibration_set.open_set``, ``set_items.ItemsWriter``.
"""

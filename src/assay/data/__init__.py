"""Labelled inputs streamed in constant memory from npz files, image folders, Parquet, Arrow or a function.

Must not know: models, runtimes, metrics, how a request is written.
Public: ``open.open_dataset``, ``source.DataSource``, ``source.Preprocess``, ``cache.remember``, ``subset.first``.
"""

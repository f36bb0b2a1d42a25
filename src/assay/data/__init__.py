"""Labelled items streamed from npz files, image folders, Parquet or a function.

Must not know: models, runtimes, metrics.
"""

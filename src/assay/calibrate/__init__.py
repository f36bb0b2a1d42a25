"""Streaming statistics of activations and the ranges solved from them.

Must not know: which runtime runs the model, files.
"""

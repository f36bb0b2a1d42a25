"""Streaming statistics of activations and the ranges solved from them.

Must not know: which runtime runs the model, files.
Public: ``statistics.StatisticsBuilder``, ``statistics.merge``, ``observe.observe``, ``ranges.solve.solve_ranges``.
"""

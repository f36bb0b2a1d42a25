"""Streaming statistics of activations and the ranges solved from them.

Must not know: which runtime runs the model, files.
Public: ``observe.observe``, ``observe.Observation``, ``observe.merge_calibrations``, ``moments.observe_moments``,
``packing.pack``, ``packing.unpack``, ``statistics.StatisticsBuilder``, ``statistics.merge``,
``ranges.solve.solve_ranges``.
"""

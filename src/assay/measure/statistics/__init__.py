"""Intervals that hold at finite sample sizes: of paired differences, of quantiles, of paired ratios.

Must not know: sessions, tasks, clocks.
Public: ``paired``, ``trinomial``, ``betting``, ``quantile``, ``ratio``.
"""

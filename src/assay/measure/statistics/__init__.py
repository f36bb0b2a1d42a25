"""Intervals of paired differences, quantiles and paired ratios, finite-sample ones but for functionals.

Must not know: sessions, tasks, clocks.
Public: ``sequential``, ``paired``, ``influence``, ``trinomial``, ``betting``, ``quantile``, ``ratio``.
"""

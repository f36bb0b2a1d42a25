"""Intervals of paired differences, quantiles and paired ratios, finite-sample ones but for functionals.

Must not know: sessions, tasks, clocks.
Public: ``paired``, ``influence``, ``trinomial``, ``betting``, ``quantile``, ``ratio``.
"""

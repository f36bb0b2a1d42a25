"""Draws charts as inline SVG whose colours and fonts are the page's own.

Must not know: how to make a study, the page around a chart.
Public: ``tradeoff.draw_tradeoff``, ``latency.draw_latency``, ``audit.draw_audit``, ``forest.draw_forest``.
"""

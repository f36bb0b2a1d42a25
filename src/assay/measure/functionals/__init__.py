"""Metrics that are no mean of item scores: functionals of all items, with what each item does to them.

Must not know: sessions, tasks, intervals.
Public: ``functional.Functional``, ``table.load_functional``, one module per functional.
"""

"""Tasks: what turns a model's outputs and the targets into item scores.

Must not know: sessions, statistics.
Public: ``table.load_task``, ``table.find_metric``, one module per task.
"""

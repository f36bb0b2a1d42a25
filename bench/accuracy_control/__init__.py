"""The parts of ``against_accuracy_control.py``: the pairs, each contender in a process of its own, and the timing.

Public: ``cases.CASES``, ``parts.run_part``.
"""

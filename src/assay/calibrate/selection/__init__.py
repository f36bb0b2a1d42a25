"""Selection of calibration items: how many are enough, and which of many to take.

Must not know: where items come from, how they are stored, files.
Public: ``convergence.ConvergenceRule``, ``observe_until.observe_until``, ``representative.choose_spread``.
"""

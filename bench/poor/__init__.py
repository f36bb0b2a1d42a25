"""Poor calibration sets of real pairs: what spoils them, and what they cost when forced through.

Public: ``subjects.open_subject``, ``failures.list_failures``, ``forcing.Forcing``.
"""

"""Fitness of one set of items as calibration data for another: harm in the ranges, shift of the items, outliers.

Must not know: which model or runtime gave the statistics, files, what is done about a verdict.
Public: ``judge.judge``.
"""

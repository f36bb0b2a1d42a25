"""Compiles models with Apache TVM into libraries for this CPU or a named other one, and runs those for this one.

Must not know: other runtimes, studies, data. Public names: ``adapter.TvmBackend``, ``tuning.tune_model``.
"""

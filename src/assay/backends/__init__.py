"""One folder per runtime, each an adapter that builds, opens, runs and audits what ``graph`` wrote.

Must not know: how a plan was chosen, data sets, metrics.
Public: ``backend.Backend``, ``table.load_backend``, ``table.list_backends``.
"""

"""TensorRT: parses what ``graph`` wrote, builds engines for a GPU that may be elsewhere, runs and inspects them.

Must not know: any other runtime, how a plan was chosen.
Public: ``adapter.TensorRtBackend``.
"""

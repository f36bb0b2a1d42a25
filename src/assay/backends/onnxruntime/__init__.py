"""ONNX Runtime: builds, opens, runs and audits ONNX files on its execution providers.

Must not know: other runtimes, how a plan was chosen.
Public: ``adapter.OnnxRuntimeBackend``.
"""

"""The exact semantics of ONNX in NumPy: slow on purpose, always available.

Must not know: other runtimes, how a plan was chosen.
Public: ``adapter.ReferenceBackend``.
"""

"""PyTorch: turns an ONNX graph into a torch graph for each shape that is fed, runs it compiled or eagerly, audits it.

Must not know: other runtimes, how a plan was chosen.
Public: ``adapter.TorchBackend``, ``adapter.TorchCudaBackend``.
"""

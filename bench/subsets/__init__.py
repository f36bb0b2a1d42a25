"""Every subset of a small network's groups kept in floats, for ``exhaustive.py``.

``ground`` builds and scores them, ``latencies`` times them, ``searching`` lets a study search among them.
``network.py`` trained ``small.onnx``; it runs alone, with torch.
"""

"""Load as MLPerf Inference defines it, on any session: single stream, offline, and a server with random arrivals.

Must not know: what an artifact is, or what is asked of it.
Public: ``outcome``, ``single_stream``, ``offline``, ``server``, ``loadgen``, ``queue``, ``find_rate``.
"""

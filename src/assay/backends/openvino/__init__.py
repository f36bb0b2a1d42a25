"""OpenVINO: compiles what ``graph`` wrote to IR, runs it on the CPU, and reads what ran from the runtime model.

Must not know: any other runtime, how a plan was chosen.
Public: ``adapter.OpenVinoBackend``.
"""

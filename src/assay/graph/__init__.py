"""ONNX in, ONNX out: load, check, inspect, prepare, expose tensors, cast, insert quantize/dequantize pairs, save.

Must not know: data sets, runtimes, metrics.
Public, from their modules: ``load_model``, ``describe_signature``, ``prepare``, ``observable_tensors``, ``expose``,
``expose_halved``, ``count_macs``, ``list_moment_layers``, ``quantize_tables``, ``realise``, ``save_model``,
``export_module``.
"""

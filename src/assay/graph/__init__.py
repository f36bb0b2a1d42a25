"""ONNX in, ONNX out: inspect, expose tensors, fold, cast, insert quantize/dequantize pairs.

Must not know: data sets, runtimes, metrics.
"""

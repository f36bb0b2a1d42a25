"""The one place where ONNX Runtime's errors become Assay's."""

from __future__ import annotations

import re

from onnxruntime.capi import onnxruntime_pybind11_state as state

from assay.core.errors import BackendError, BuildFailed, RunFailed, UnsupportedPlan

HINTS = {
    "DeviceReset": "the device was reset: run again",
    "EPFail": "the execution provider failed: try another device",
    "EngineError": "the execution provider failed: try another device",
    "Fail": "the node cannot compute this; compare with the reference backend",
    "InvalidArgument": "compare the model with onnx.checker",
    "InvalidGraph": "the graph is not valid ONNX, or uses an operator that ONNX Runtime does not have",
    "InvalidProtobuf": "the file is damaged or no ONNX model",
    "ModelLoadCanceled": "loading was stopped: load again",
    "ModelLoaded": "open the artifact once per session",
    "ModelRequiresCompilation": "the model was compiled for another device: build it again",
    "NoModel": "the file holds no model",
    "NoSuchFile": "the built folder is incomplete: build it again",
    "NotFound": "something that the model refers to is missing: build it again",
    "NotImplemented": "this runtime has no kernel for the operator in this number format; choose another precision",
    "RuntimeException": "the node cannot compute this; compare with the reference backend",
}
"""What to do, by the name of ONNX Runtime's exception class; older versions lack some of them."""

VENDOR_ERRORS: tuple[type[Exception], ...] = (
    *(value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)),
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
)
"""Everything that ONNX Runtime raises: its own classes, and what its binding raises for unusable arguments."""

_NODE = re.compile(
    r'In Node, \("(?P<a>[^"]*)", (?P<a_type>\w+)'
    r"|implementation for (?P<b_type>\w+)\(\d+\) node with name '(?P<b>[^']*)'"
    r"|running (?P<c_type>\w+) node\. Name:'(?P<c>[^']*)'"
    r"|Node:? ?\((?P<d>[^)]*)\)(?: Op \((?P<d_type>\w+)\))?"
    r"|Node:(?P<e>\S+)"
)
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : ")


def name_node(text: str) -> str:
    """The node that a message of ONNX Runtime speaks of, such as ``node 'conv1' (Conv)``; empty where it names none."""
    match = _NODE.search(text)
    if match is None:
        return ""
    found = match.groupdict()
    name = next((found[key] for key in "abcde" if found[key]), "")
    operator = next((found[f"{key}_type"] for key in "abcd" if found[f"{key}_type"]), "")
    return f"node {name!r}" + (f" ({operator})" if operator else "")


def to_build_error(error: Exception, model: object) -> BackendError:
    """What building or opening raises: ``UnsupportedPlan`` where a kernel is missing, otherwise ``BuildFailed``."""
    kind = UnsupportedPlan if type(error).__name__ == "NotImplemented" else BuildFailed
    return kind(f"ONNX Runtime cannot load {model}{_detail(error)}", HINTS.get(type(error).__name__, ""))


def to_run_error(error: Exception, mismatch: str) -> RunFailed:
    """What running raises; ``mismatch`` says how the feeds differ from the signature, or is empty."""
    if mismatch:
        return RunFailed(mismatch, "give the inputs that the model expects")
    return RunFailed(f"ONNX Runtime failed{_detail(error)}", HINTS.get(type(error).__name__, ""))


def describe(error: Exception) -> str:
    """ONNX Runtime's own words, on one line and without its prefix."""
    return " ".join(_PREFIX.sub("", str(error)).split())


def _detail(error: Exception) -> str:
    node = name_node(str(error))
    return f"{f' at {node}' if node else ''}: {describe(error)}"

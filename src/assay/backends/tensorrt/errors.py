"""The one place where TensorRT's messages and errors become Assay's.

TensorRT returns nothing where it fails, and tells why to a logger. The parser lists its errors node by node.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from assay.backends.tensorrt.cuda import CudaError
from assay.core.errors import BackendError, BuildFailed

VENDOR_ERRORS = (CudaError, RuntimeError, TypeError, ValueError, IndexError, OSError, MemoryError)
"""What the bindings raise; most failures come as None and a logged message."""
LONGEST_MESSAGE = 600
NO_GPU = "cudaError 35"
"""Logged beside other errors wherever there is no driver; it tells nothing of the model."""
_POSITION = re.compile(r"\s*In \S+ at [\w/.]+:\d+|^\[?[\w:/.~ ]*\]?\s*(?:I\w+::\w+: )?Error Code \d+: ")
_QUOTED = re.compile(r"'([^']+)'|\[ONNX Layer: ([^\]]+)\]|\bnode (\S+)")
_NUMBERED = re.compile(r"_U\d+$")
"""What the builder puts behind a name that a tensor has, too."""
_CHECK = re.compile(r"^(?:false|Assertion failed: false)?$")


class Messages:
    """What TensorRT logged, warnings and worse."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def summarize(self) -> str:
        """The errors on one line, without source positions and without what only says that there is no GPU."""
        told = [text for error in self.errors if (text := tidy(error))]
        text = "; ".join(dict.fromkeys(told)) or "it gives no reason"
        return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 3] + "..."


def tidy(message: str) -> str:
    """A message on one line; empty where it speaks of the missing GPU alone."""
    lines = [line for line in message.splitlines() if NO_GPU not in line and line.strip()]
    return " ".join(_POSITION.sub("", line).strip() for line in lines)


def make_logger(module: Any) -> tuple[Any, Messages]:  # noqa: ANN401 - the vendor's module and object have no types
    """A logger that collects, and what it collects; the logger must live as long as what logs to it."""
    messages = Messages()
    severity = module.ILogger.Severity

    class Logger(module.ILogger):  # type: ignore[misc]  # the vendor's class has no types
        """Collects."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, level: Any, text: str) -> None:  # noqa: ANN401 - as above
            """Keep a message."""
            if level <= severity.ERROR:
                messages.errors.append(str(text))
            elif level <= severity.WARNING:
                messages.warnings.append(str(text))

    return Logger(), messages


def describe_parser_errors(parser: Any) -> str:  # noqa: ANN401 - as above
    """The parser's errors with the nodes that they are about, each once."""
    found = [_describe_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
    text = "; ".join(dict.fromkeys(found)) or "it gives no reason"
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 3] + "..."


def _describe_parser_error(error: Any) -> str:  # noqa: ANN401 - as above
    """One error."""
    said = tidy(error.desc())
    name, operator = str(error.node_name()), str(error.node_operator())
    said = said.removeprefix(f"Invalid Node - {name}").strip()
    where = f"node {name!r} ({operator})" if name or operator else "the model"
    return f"{where} is not supported" if _CHECK.match(said) else f"{where}: {said}"


def find_node(message: str, names: Collection[str]) -> str:
    """The node of the model that a message of the builder names; empty where it names none."""
    for match in _QUOTED.finditer(message):
        for found in match.groups():
            plain = _NUMBERED.sub("", found or "")
            if found in names or plain in names:
                return found if found in names else plain
    return ""


def to_build_error(title: str, model: str, messages: Messages, names: Collection[str]) -> BuildFailed:
    """What building raises, with the node that the builder names."""
    said = messages.summarize()
    node = find_node(said, names)
    where = f" at node {node!r}" if node else ""
    return BuildFailed(f"{title} cannot build {model}{where}: {said}", "keep the node in another format, or leave it")


@contextmanager
def mapped_errors(kind: type[BackendError], failed: str, messages: Messages | None = None) -> Iterator[None]:
    """Turn what the bindings raise inside the block into ``kind``, with what was logged meanwhile.

    Args:
        kind: the error to raise instead.
        failed: what failed, naming the file; the vendor's words follow it.
        messages: of the logger.
    """
    try:
        yield
    except VENDOR_ERRORS as err:
        logged = f"; {messages.summarize()}" if messages is not None and messages.errors else ""
        text = " ".join(str(err).split()) or type(err).__name__
        raise kind(f"{failed}: {text[:LONGEST_MESSAGE]}{logged}") from err

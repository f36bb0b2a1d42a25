"""What the nodes of an ONNX Runtime artifact take: its profile, joined with the graph that was built.

Rewrites rename nodes: a node that takes in others has the name of one of them or of its result, with a suffix, and the
tensors at the edges of what was rewritten keep theirs. A product that has lost its name is looked for on the way to the
next node that has one; anything else that has, on the way from the last.
"""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnxruntime as ort

from assay.backends.onnx_macs import multiplies
from assay.backends.onnxruntime.audit import EVENT_SUFFIX
from assay.backends.onnxruntime.errors import VENDOR_ERRORS, to_run_error
from assay.backends.onnxruntime.providers import Chosen
from assay.core.mixing import NodeTime
from assay.core.tensor import Feeds

WARM_UP_CALLS = 3
SUFFIX = re.compile(r"(_nchwc|_nhwc|_token_\d+|/duplicated\w*|/DuplicateQDQ\w*)$")
"""What rewrites append to the name of a node that they replace or copy (seen in 1.31)."""

Origins = dict[str, list[str]]
"""Executed node -> nodes of the graph that was built."""


def profile_nodes(
    model: Path, options: ort.SessionOptions, providers: Chosen, feeds: Feeds, calls: int
) -> tuple[NodeTime, ...]:
    """Median time of every executed node over some calls, after a few that warm up.

    Args:
        model: the ONNX file.
        options: as the session was opened with; changed here.
        providers: as the session was opened with.
        feeds: inputs by name.
        calls: to take the median over.

    Raises:
        RunFailed: ONNX Runtime failed.
    """
    with TemporaryDirectory(prefix="assay-profile-") as folder:
        optimised = Path(folder) / "optimised.onnx"
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.optimized_model_filepath = str(optimised)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights.bin")
        try:
            session = ort.InferenceSession(str(model), options, providers=providers)
            for _ in range(WARM_UP_CALLS + calls):
                session.run(None, feeds)
            events = json.loads(Path(session.end_profiling()).read_bytes())
        except VENDOR_ERRORS as err:
            raise to_run_error(err, "") from err
        executed = onnx.load(optimised, load_external_data=False).graph.node
    built = onnx.load(model, load_external_data=False).graph.node
    return read_times(events, calls, built, executed)


def read_times(
    events: Iterable[Mapping[str, Any]], calls: int, built: Sequence[onnx.NodeProto], executed: Sequence[onnx.NodeProto]
) -> tuple[NodeTime, ...]:
    """Nodes of a profile in the order in which they ran.

    Nodes inside If, Loop and Scan are left out: the time of the node that holds them is theirs as well.

    Args:
        events: the profile as ONNX Runtime writes it (Chrome trace format).
        calls: the last ones of the profile, which count.
        built: nodes of the graph that was built.
        executed: nodes of the graph that was profiled.
    """
    outer = {(node.name, node.op_type) for node in executed}
    spent: dict[str, list[float]] = defaultdict(list)
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(EVENT_SUFFIX):
            name, operator = name.removesuffix(EVENT_SUFFIX), str(event["args"]["op_name"])
            if (name, operator) in outer or ("", operator) in outer:
                spent[name].append(float(event["dur"]) / 1e3)
    origins = find_origins(built, executed, list(spent))
    return tuple(
        NodeTime(name, tuple(origins.get(name, ())), _take_median(times, calls)) for name, times in spent.items()
    )


def _take_median(times: Sequence[float], calls: int) -> float:
    """Median over the last calls of what all runs of a node took in one."""
    runs = max(1, len(times) // (WARM_UP_CALLS + calls))
    last = times[-runs * calls :]
    return statistics.median(sum(last[start : start + runs]) for start in range(0, len(last), runs))


def find_origins(
    built: Sequence[onnx.NodeProto], executed: Sequence[onnx.NodeProto], order: Sequence[str]
) -> Mapping[str, Sequence[str]]:
    """Executed node -> nodes of the built graph that it computes.

    Args:
        built: in an order in which they can run.
        executed: of the rewritten graph.
        order: names of the executed nodes as they ran.
    """
    names = {node.name for node in built if node.name}
    makers = {output: node.name for node in built for output in node.output if output and node.name}
    origins: Origins = {node.name: _name_origins(node, names, makers) for node in executed if node.name}
    place = {name: index for index, name in enumerate(order)}
    claims = {
        origin: name
        for name in sorted(origins, key=lambda name: place.get(name, -1), reverse=True)
        for origin in origins[name]
    }
    _claim_products(built, claims)
    _claim_followers(built, makers, claims, place)
    for origin, name in claims.items():
        if origin not in origins[name]:
            origins[name].append(origin)
    for node in reversed(executed):  # what changes a layout for others: it is theirs
        if node.name and not origins[node.name]:
            readers = [one.name for one in executed if set(one.input) & set(node.output)]
            origins[node.name] = list(dict.fromkeys(origin for name in readers for origin in origins.get(name, ())))
    return origins


def _name_origins(node: onnx.NodeProto, names: Collection[str], makers: Mapping[str, str]) -> list[str]:
    """Nodes that an executed node tells of, by its own name and by those of its results."""
    name = node.name
    while name not in names and name not in makers and SUFFIX.search(name):
        name = SUFFIX.sub("", name)
    called = name if name in names else makers.get(name) if name != node.name else None
    found = {} if called is None else {called: None}
    found |= dict.fromkeys(makers[output] for output in node.output if output in makers)
    return list(found)


def _claim_products(built: Sequence[onnx.NodeProto], claims: dict[str, str]) -> None:
    """Give nameless products to the executed node behind them, where no named one stands between."""
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in built:
        for value in node.input:
            readers[value].append(node)
    for node in reversed(built):
        step = node
        while multiplies(node.op_type) and node.name not in claims:
            following = [reader for output in step.output for reader in readers[output]]
            if len(following) != 1:
                break
            step = following[0]
            if step.name in claims:
                claims[node.name] = claims[step.name]


def _claim_followers(
    built: Sequence[onnx.NodeProto], makers: Mapping[str, str], claims: dict[str, str], place: Mapping[str, int]
) -> None:
    """Give other nameless nodes to the last executed node that feeds them."""
    for node in built:
        if node.name and node.name not in claims:
            feeding = [claims[makers[value]] for value in node.input if makers.get(value) in claims]
            if feeding:
                claims[node.name] = max(feeding, key=lambda name: place.get(name, -1))

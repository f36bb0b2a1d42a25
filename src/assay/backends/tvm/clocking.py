"""The process that compiles and times schedules for ``measuring``: ``python -m assay.backends.tvm.clocking``.

It reads one line for each job, the path of a file with the job; and answers each with a line of JSON. A job that takes
longer than it may ends the process, whatever the process is doing then.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from assay.backends.tvm.errors import VENDOR_ERRORS, summarize_error
from assay.backends.tvm.lowering import MAIN
from assay.backends.tvm.vendor import load_compiler, load_tvm

CALLS, REPEATS, LEAST_MS = 1, 3, 20
"""A measurement: the best of three runs of at least 20 ms each."""
CODES = 100
"""8-bit operands are drawn from below."""
MODULES = ("ir", "driver", "s_tir.transform", "s_tir.meta_schedule")
"""What a job needs of TVM; imported before its time runs."""


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scheduled function to compile and time.

    Attributes:
        module: of TVM's, with the function as ``main``, in TVM's JSON.
        target: of TVM's, in its JSON.
        limit_s: after which the process ends.
    """

    module: str
    target: str
    limit_s: float


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of a job.

    Attributes:
        seconds: of a call; None where it failed.
        failure: what TVM said then.
    """

    seconds: float | None
    failure: str = ""


def clock_job(job: Job) -> Reply:
    """Compile a function for this machine, call it with random operands, and tell the least time of a call."""
    try:
        tvm, ir = load_tvm(), load_compiler("ir")
        module, target = ir.load_json(job.module), ir.load_json(job.target)
        operands = [_draw_operand(info) for info in _list_operands(module[MAIN])]
        plain = load_compiler("s_tir.transform").RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(module)
        built = load_compiler("driver").build(plain, target=target)
        evaluate = built.time_evaluator(MAIN, tvm.cpu(), number=CALLS, repeat=REPEATS, min_repeat_ms=LEAST_MS)
        return Reply(min(float(value) for value in evaluate(*operands).results))
    except VENDOR_ERRORS as err:
        return Reply(None, summarize_error(err))


def _list_operands(function: Any) -> Any:  # noqa: ANN401 - TVM's objects have no types
    return load_compiler("s_tir.meta_schedule").arg_info.ArgInfo.from_prim_func(function)


def _draw_operand(info: Any) -> Any:  # noqa: ANN401 - as above
    """A tensor of random floats or 8-bit codes; of zeros for wider integers, which may be indices."""
    shape, kind = tuple(int(size) for size in info.shape), str(info.dtype)
    rng = np.random.default_rng(0)
    if kind.startswith("float"):
        array = rng.random(shape, np.float32).astype(kind)
    elif kind in {"int8", "uint8"}:
        array = rng.integers(0, CODES, shape).astype(kind)
    else:
        array = np.zeros(shape, kind)
    return load_tvm().runtime.tensor(array)


def answer_jobs() -> int:
    """Answer one job after the other, until no more are asked."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what TVM prints is no reply
    for name in MODULES:
        load_compiler(name)
    for line in sys.stdin:
        job = msgspec.json.decode(Path(line.rstrip("\n")).read_bytes(), type=Job)
        signal.alarm(math.ceil(job.limit_s))  # its default action needs no Python: TVM may hold the interpreter
        reply = clock_job(job)
        signal.alarm(0)
        replies.write(msgspec.json.encode(reply) + b"\n")
        replies.flush()
    return 0


if __name__ == "__main__":
    sys.exit(answer_jobs())

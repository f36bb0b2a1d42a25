"""What forms of weights in integers gain and lose on a decoder with a key-value cache, on every runtime that has them.

Run: ``python bench/stored_weights.py examples/smollm2/files/smollm2.onnx``, or any decoder with the interface of
Hugging Face Optimum's exports. Every form is built by the runtime's adapter as a study would, and audited. All forms of
a runtime are open in one process on one thread and take turns: steps of one token behind ``--context`` tokens, and
prompts of as many. Told are medians of the wall time of a call and of its ratio to FP32 in the same round, and the
noise of the logits beside FP32 on random tokens, which says little about perplexity: that is what a study measures.

Prints a table; ``--output`` keeps it as JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from assay.backends.backend import Backend, WeightBackend
from assay.backends.table import load_backend
from assay.core.decoder import read_decoder
from assay.core.plan import Plan
from assay.core.precision import CastStyle, Precision
from assay.core.session import Session
from assay.core.target import Target
from assay.core.tensor import Feeds
from assay.graph.ingest import load_model
from assay.graph.prepare import prepare
from assay.graph.realise import realise
from assay.graph.save import save_model
from assay.graph.signature import describe_signature
from assay.measure.machine import describe_machine
from assay.studies.decoding import Speaker

WEIGHTS = (Precision.INT8, Precision.INT4)


def list_plans(backend: Backend, target: Target) -> Iterator[Plan]:
    """FP32, BF16 where the runtime has it, and every scheme with every rest."""
    yield Plan(Precision.FP32)
    if Precision.BF16 in backend.rests(target):
        yield Plan(Precision.BF16, cast=CastStyle.HINT)
    for precision in WEIGHTS if isinstance(backend, WeightBackend) else ():
        for scheme in backend.weight_schemes(precision, target):
            for rest in backend.rests(target):
                yield Plan(precision, rest=rest, weights=replace(scheme, tables=True))


def open_form(backend: Backend, prepared: ir.Model, plan: Plan, target: Target, folder: Path) -> Session:
    """Build a plan as a study would, and open it."""
    built = folder / plan.name
    built.mkdir()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        source = Path(scratch, "model.onnx")
        save_model(realise(prepared, plan), source)
        backend.build(source, built, plan, target)
    return backend.open(built, target)


def measure_runtime(name: str, prepared: ir.Model, feeds: tuple[Feeds, Feeds], rounds: int) -> list[dict[str, object]]:
    """Rows of one runtime, FP32 first."""
    backend, target = load_backend(name), Target(name)
    with tempfile.TemporaryDirectory() as text, ExitStack() as stack:
        folder = Path(text)
        sessions = {}
        for plan in list_plans(backend, target):
            sessions[plan.name] = stack.enter_context(open_form(backend, prepared, plan, target, folder))
        rows = [describe(session, feeds, sessions["fp32"]) for session in sessions.values()]
        times = {plan: ([], []) for plan in sessions}
        for done in range(rounds):
            for plan, session in sorted(sessions.items(), reverse=bool(done % 2)):
                for kind, fed in enumerate(feeds):
                    if kind == 0 or done < max(5, rounds // 4):
                        times[plan][kind].append(time_call(session, fed))
        for row, plan in zip(rows, sessions, strict=True):
            row |= {"runtime": name, "plan": plan, "mb": measure_size(folder / plan) / 1e6}
            for kind, label in enumerate(("step", "prompt")):
                own, base = np.array(times[plan][kind]), np.array(times["fp32"][kind])
                row |= {f"{label}_ms": 1e3 * np.median(own), f"{label}_ratio": np.median(base / own)}
    return rows


def measure_size(folder: Path) -> int:
    """Bytes of a built folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def time_call(session: Session, feeds: Feeds) -> float:
    """Seconds of a call, after one that warms the caches."""
    session.run(feeds)
    started = time.perf_counter()
    session.run(feeds)
    return time.perf_counter() - started


def describe(session: Session, feeds: tuple[Feeds, Feeds], reference: Session) -> dict[str, object]:
    """What a form executes and loses."""
    audit = session.executed(feeds[0])
    row: dict[str, object] = {f"ran_{p}": share for p, share in audit.shares().items() if share > 0}
    row |= {f"stored_{p}": share for p, share in audit.stored_shares().items()}
    logits = next(iter(session.run(feeds[1])))
    exact = reference.run(feeds[1])[logits].astype(np.float64)
    given = session.run(feeds[1])[logits]
    power = np.square(exact - given).sum() / np.square(exact).sum()
    agree = float((exact.argmax(-1) == given.argmax(-1)).mean())
    return row | {"noise_db": float(10 * np.log10(max(power, 1e-30))), "same_token": agree}


def count_tokens(model: ir.Model) -> int:
    """Tokens of the vocabulary, from the last axis of the first output."""
    shape = model.graph.outputs[0].shape
    return shape[-1] if shape is not None and isinstance(shape[-1], int) else 1000


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--runtimes", default="onnxruntime,openvino")
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    prepared = prepare(load_model(asked.model))
    signature = describe_signature(prepared)
    speaker = Speaker(
        signature, read_decoder(signature), np.random.default_rng(0).integers(0, count_tokens(prepared), 997)
    )
    step, prompt = speaker.make_step(asked.context, 1), speaker.make_prompt(asked.context, 1)
    if step is None:
        parser.error(f"{asked.model} has no key-value cache")
    rows = []
    for name in asked.runtimes.split(","):
        rows += measure_runtime(name, prepared, (step, prompt), asked.rounds)
    for row in rows:
        told = [f"{row['runtime']}.{row['plan']}".ljust(58), f"{row['mb']:5.0f} MB", f"{row['noise_db']:7.1f} dB"]
        told += [f"{kind} {row[f'{kind}_ms']:8.2f} ms {row[f'{kind}_ratio']:5.2f}x" for kind in ("step", "prompt")]
        print("  ".join(told))
    if asked.output:
        told = {
            "machine": describe_machine().facts(),
            "model": asked.model.name,
            "context": asked.context,
            "rows": rows,
        }
        asked.output.write_text(json.dumps(told, indent=1, default=float) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What the device can do at most, measured: products in every format, and what its memory moves."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from assay.backends.torch.execution import set_tf32
from assay.backends.torch.integers import add_products
from assay.backends.torch.vendor import has_integer_kernels

SIDE, QUICK_SIDE = 8192, 256
COPIED_BYTES, QUICK_COPIED_BYTES = 4 << 30, 4 << 20
REPEATS = 12
Row = dict[str, object]


def measure_ceilings(device: str, *, quick: bool) -> Row:
    """TFLOP/s (TOP/s for INT8) of a square product of random numbers in each format, and GB/s of a copy.

    Args:
        device: as torch names it.
        quick: small sizes.
    """
    side = QUICK_SIDE if quick else SIDE
    found: Row = {"side": side}
    for name, call in list_products(device, side).items():
        try:
            seconds = time_call(call, device)
        except RuntimeError as error:
            found[name] = f"not measured: {' '.join(str(error).split())[:200]}"
            continue
        found[name] = round(2 * side**3 / seconds / 1e12, 2)
    set_tf32(on=False)
    count = QUICK_COPIED_BYTES if quick else COPIED_BYTES
    source = torch.randint(0, 255, (count,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    found["copy_gb_per_s"] = round(2 * count / time_call(lambda: target.copy_(source), device) / 1e9, 1)
    return found


def list_products(device: str, side: int) -> dict[str, Callable[[], object]]:
    """Products by name."""
    wide = [torch.randn(side, side, device=device) for _ in range(2)]
    codes = [torch.randint(-127, 128, (side, side), device=device, dtype=torch.int8) for _ in range(2)]

    def multiply(dtype: torch.dtype, *, tf32: bool = False) -> Callable[[], object]:
        left, right = (part.to(dtype) for part in wide)

        def run() -> object:
            set_tf32(on=tf32)
            return left @ right

        return run

    turned = codes[1].t().contiguous().t()
    found: dict[str, Callable[[], object]] = {"fp32_tflops": multiply(torch.float32)}
    if device != "cpu":
        found["tf32_tflops"] = multiply(torch.float32, tf32=True)
        found["fp16_tflops"] = multiply(torch.float16)
    found["bf16_tflops"] = multiply(torch.bfloat16)
    found["int8_tops"] = lambda: add_products(codes[0], turned)
    if has_integer_kernels(device):
        from assay.backends.torch.triton_products import multiply as multiply_codes  # noqa: PLC0415 - needs Triton

        scale = torch.full((side,), 1e-4, device=device)
        offset = torch.zeros(side, dtype=torch.int32, device=device)
        step, zero = torch.ones((), device=device), torch.zeros((), dtype=torch.int8, device=device)
        found["int8_kernel_tops"] = lambda: multiply_codes(codes[0], codes[1], scale, offset, None, step, zero)
    return found


def time_call(call: Callable[[], object], device: str) -> float:
    """Median seconds of a call."""
    seconds = []
    for index in range(REPEATS):
        start = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        if index > 1:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)

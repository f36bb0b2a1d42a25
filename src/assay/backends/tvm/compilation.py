"""From an ONNX model at fixed shapes to code: import, rewrite, fuse, schedule, compile."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import onnx

from assay.backends.tvm.errors import VENDOR_ERRORS, mapped_errors
from assay.backends.tvm.legalize import make_rules
from assay.backends.tvm.lowering import MAIN, Lowering
from assay.backends.tvm.machine import Machine
from assay.backends.tvm.plain_schedules import schedule_plain
from assay.backends.tvm.products import Product, count_call_macs, describe_float
from assay.backends.tvm.row_schedules import schedule_rows
from assay.backends.tvm.schedules import list_product_tiles, schedule_product
from assay.backends.tvm.tiles import Tile
from assay.backends.tvm.vendor import load_compiler
from assay.core.errors import BuildFailed

Module = Any
"""A module of TVM's, which has no types."""
Shapes = Mapping[str, tuple[int, ...]]
"""Input -> its sizes."""
Chooser = Callable[[Module, Machine], Module | None]
"""Gives the schedule that tuning found for a function's module, or None."""

SCHEDULED = "tirx.is_scheduled"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A model compiled at fixed shapes.

    Attributes:
        executable: of TVM's virtual machine.
        products: what multiplies in it.
        functions: name of every other function that it calls, in order.
    """

    executable: Any
    products: tuple[Product, ...]
    functions: tuple[str, ...]


def import_model(model: onnx.ModelProto, shapes: Shapes) -> Module:
    """A model as a Relax module whose inputs have these shapes.

    Raises:
        BuildFailed: TVM knows an operator not, or refuses the model; its words name the node.
    """
    frontend = load_compiler("relax.frontend.onnx")
    given = {name: list(shape) for name, shape in shapes.items()}
    failed = "TVM cannot import the model"
    with mapped_errors(BuildFailed, failed, "see which node or operator it names"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the file was checked before
        return frontend.from_onnx(model, shape_dict=given, sanitize_input_names=False)


def lower_module(module: Module, machine: Machine) -> tuple[Module, tuple[Product, ...]]:
    """Rewrite onto our kernels, and fuse what TVM can; nothing is scheduled yet."""
    relax, ir = load_compiler("relax"), load_compiler("ir")
    target = machine.make_target()
    with target:
        module = relax.transform.DecomposeOpsForInference()(module)
        module, products = _rewrite(module, machine)
        passes = [
            relax.transform.RemoveUnusedOutputs(),
            relax.transform.DeadCodeElimination([MAIN]),
            relax.transform.LegalizeOps(dict(make_rules())),
            relax.transform.AnnotateTIROpPattern(),
            relax.transform.FoldConstant(),
            relax.transform.DeadCodeElimination([MAIN]),
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
            relax.transform.DeadCodeElimination([MAIN]),
        ]
        return ir.transform.Sequential(passes)(module), products


def _rewrite(module: Module, machine: Machine) -> tuple[Module, tuple[Product, ...]]:
    """Our rewrite where the function is one block of straight code; else as it is."""
    relax, function = load_compiler("relax"), module[MAIN]
    bindings = [binding for block in function.body.blocks for binding in block.bindings]
    straight = len(module.get_global_vars()) == 1 and not any(isinstance(b.value, relax.If) for b in bindings)
    if not straight:
        counted = [(binding.value, count_call_macs(binding.value)) for binding in bindings]
        return module, tuple(describe_float(call, macs) for call, macs in counted if macs)
    lowering = Lowering(machine, function)
    return lowering.run(), tuple(lowering.products)


def schedule_module(module: Module, machine: Machine, choose: Chooser | None = None) -> Module:
    """Schedule every function that is not scheduled yet.

    Args:
        module: lowered.
        machine: to schedule for.
        choose: what tuning found, asked first.
    """
    tirx = load_compiler("tirx")
    target = machine.make_target()
    with target:
        for name, function in list(module.functions_items()):
            if isinstance(function, tirx.PrimFunc) and not (function.attrs and SCHEDULED in function.attrs):
                module[name] = schedule_function(function, machine, choose).with_attr({SCHEDULED: True})
    return module


def schedule_function(function: Any, machine: Machine, choose: Chooser | None = None) -> Any:  # noqa: ANN401 - TVM's
    """One function with loops as tuning found them, else as we expect them to be fast, else as TVM wrote them."""
    tiles = list_tiles(function, machine)
    if tiles and choose is not None:
        found = choose(wrap_function(function), machine)
        if found is not None:
            return _sole_function(found).without_attr("global_symbol")  # all have the same one there
    attempts: list[Callable[[], Any]] = [partial(schedule_product, function, machine, tile) for tile in tiles[:1]]
    attempts += [partial(schedule_rows, function, machine), partial(schedule_plain, function, machine)]
    for attempt in attempts:
        try:
            return _sole_function(attempt().mod)
        except VENDOR_ERRORS:  # a function that these loops do not fit runs with the next, slower
            continue
    return function


def wrap_function(function: Any) -> Module:  # noqa: ANN401 - as above
    """A module of one function, called ``main``."""
    ir = load_compiler("ir")
    return ir.IRModule({MAIN: function.with_attr("global_symbol", MAIN)})


def _sole_function(module: Module) -> Any:  # noqa: ANN401 - as above
    return module[MAIN]


def list_tiles(function: Any, machine: Machine) -> tuple[Tile, ...]:  # noqa: ANN401 - as above
    """Tiles to choose from for any function, the one expected fastest first; empty for those without a product."""
    try:
        return list_product_tiles(function, machine)
    except VENDOR_ERRORS:  # loops that TVM's schedules do not take at all, such as those of a sort
        return ()


def compile_model(
    model: onnx.ModelProto, shapes: Shapes, machine: Machine, threads: int, choose: Chooser | None = None
) -> Compiled:
    """Compile a model at fixed shapes.

    Args:
        model: with all of its weights.
        shapes: of every input.
        machine: to compile for.
        threads: that it will run on.
        choose: what tuning found.

    Raises:
        BuildFailed: TVM refused the model.
    """
    relax = load_compiler("relax")
    module = import_model(model, shapes)
    with mapped_errors(BuildFailed, "TVM cannot compile the model"):
        lowered, products = lower_module(module, machine)
        scheduled = schedule_module(lowered, machine, choose)
        functions = list_functions(scheduled)
        executable = relax.build(
            scheduled, machine.make_target(threads), relax_pipeline=_finish(), exec_mode="bytecode"
        )
    return Compiled(executable, products, functions)


def list_functions(module: Module) -> tuple[str, ...]:
    """Names of the compiled functions that the main function calls, in order."""
    called = []
    for block in module[MAIN].body.blocks:
        for binding in block.bindings:
            arguments: Sequence[Any] = getattr(binding.value, "args", ())
            name = getattr(arguments[0], "name_hint", "") if len(arguments) else ""
            called += [str(name)] if name else []
    return tuple(called)


def _finish() -> Any:  # noqa: ANN401 - a pass of TVM's
    """TVM's own last passes, from a scheduled module to its virtual machine's code."""
    transform, relax = load_compiler("relax.transform"), load_compiler("relax")
    return load_compiler("ir").transform.Sequential(
        [
            relax.backend.DispatchSampling(),
            relax.backend.DispatchSortScan(),
            transform.RewriteDataflowReshape(),
            transform.ToNonDataflow(),
            transform.RemovePurityChecking(),
            transform.CallTIRRewrite(),
            transform.StaticPlanBlockMemory(),
            transform.LowerAllocTensor(),
            transform.KillAfterLastUse(),
            transform.LowerRuntimeBuiltin(),
            transform.ComputePrimValue(),
            transform.VMShapeLower(),
            transform.AttachGlobalSymbol(),
        ]
    )

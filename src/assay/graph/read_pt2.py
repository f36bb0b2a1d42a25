"""Reads a ``.pt2`` file, a program that ``torch.export.save`` wrote, without running anything that lies in it.

``torch.export.load`` unpickles what asks for it, evaluates symbolic sizes as Python and resolves operators by name.
So the file is read as plain data first, by the reader that torch uses, and refused unless its weights are raw tensors,
its sizes are arithmetic over symbols and its operators are torch's own. Its example inputs, which torch would unpickle
and an export does not need, are never read: torch is given a copy of the archive in which their record is empty.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

from assay.core.errors import ModelError
from assay.graph.export_torch import import_archive_reader, quiet

SAVE_AGAIN = "save it anew: torch.export.save(torch.export.export(module.eval(), example_inputs), 'model.pt2')"
MODEL = "models/model.json"
INPUTS = "data/sample_inputs/model.pt"
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
RECORDS = re.compile(
    r"models/model\.json|data/sample_inputs/model\.pt|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)|archive_format|archive_version|byteorder"
    r"|\.data/(version|serialization_id)|extra/.+"
)
PAYLOAD = re.compile(r"(weight|tensor)_\d+")
ARITHMETIC = frozenset(
    {
        "add",
        "sub",
        "mul",
        "truediv",
        "floordiv",
        "mod",
        "pow",
        "neg",
        "pos",
        "abs",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "and_",
        "or_",
        "xor",
        "not_",
        "invert",
        "lshift",
        "rshift",
        "getitem",
        "iadd",
        "isub",
        "imul",
        "itruediv",
        "ifloordiv",
        "imod",
        "index",
        "truth",
    }
)
OPERATORS = re.compile(r"torch\.ops\.\w+\.\w+(\.\w+)?|torch\._?sym_\w+|math\.\w+")
SIZE_FUNCTIONS = frozenset(
    {
        "FloorDiv",
        "ModularIndexing",
        "Where",
        "PythonMod",
        "Mod",
        "CleanDiv",
        "CeilToInt",
        "FloorToInt",
        "CeilDiv",
        "LShift",
        "RShift",
        "PowByNatural",
        "FloatPow",
        "FloatTrueDiv",
        "IntTrueDiv",
        "TruncToFloat",
        "TruncToInt",
        "RoundToInt",
        "RoundDecimal",
        "ToFloat",
        "Identity",
        "IsNonOverlappingAndDenseIndicator",
        "Add",
        "Mul",
        "Pow",
        "Max",
        "Min",
        "Abs",
        "floor",
        "ceiling",
        "Symbol",
        "Integer",
        "Float",
        "Rational",
        "Equality",
        "Unequality",
        "Eq",
        "Ne",
        "Lt",
        "Le",
        "Gt",
        "Ge",
        "StrictLessThan",
        "LessThan",
        "StrictGreaterThan",
        "GreaterThan",
        "And",
        "Or",
        "Not",
        "Piecewise",
        "ExprCondPair",
        "Tuple",
    }
)
SIZE_NAMES = frozenset({"true", "false", "oo", "nan", "zoo"})
SIZE_SYNTAX: tuple[type[ast.AST], ...] = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.expr_context, ast.keyword),
    *(ast.operator, ast.unaryop, ast.cmpop, ast.boolop),
)
SYMBOL_OR_NUMBER = re.compile(r"[a-z]{1,4}\d+|-?[\d.]+(e[+-]?\d+)?")
SPECS = ("in_spec", "out_spec")
PLAIN_TREES = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})


def read_program(torch: Any, path: Path) -> Any:  # noqa: ANN401 torch is optional and has no types here
    """The exported program in a ``.pt2`` file.

    Args:
        torch: the package.
        path: the file.

    Raises:
        ModelError: it is no such file, is damaged, or holds what could run code, naming it.
        RequestError: torch is too old for it.
    """
    check_archive(path)
    open_archive = import_archive_reader(torch)
    try:
        with open_archive(str(path)) as reader:
            check_records(reader, path)
        with tempfile.TemporaryFile() as plain, quiet():
            leave_inputs_out(path, plain)
            return torch.export.load(plain)
    except ModelError:
        raise
    except Exception as err:
        # Torch raises what it likes on a damaged file: whatever it is, this file cannot be read.
        reason = str(err).strip().partition("\n")[0] or type(err).__name__
        raise ModelError(f"{path} cannot be read as an exported program: {reason}", SAVE_AGAIN) from err


def check_archive(path: Path) -> None:
    """Refuse what is no archive in the one form that holds plain data.

    Raises:
        ModelError: naming the file.
    """
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
    except FileNotFoundError as err:
        raise ModelError(f"{path} does not exist", "check the path") from err
    except (OSError, BadZipFile) as err:
        raise ModelError(f"{path} is no .pt2 file: {err}", SAVE_AGAIN) from err
    roots = {name.partition("/")[0] for name in names}
    if len(set(names)) < len(names) or len(roots) != 1 or any("/" not in name for name in names):
        raise ModelError(f"{path} is no program in the form that torch.export.save writes", SAVE_AGAIN)


def leave_inputs_out(path: Path, plain: IO[bytes]) -> None:
    """Copy an archive, with nothing in the record of its example inputs, and go back to its start.

    Args:
        path: an archive that ``check_archive`` let through: all its records lie in one folder.
        plain: where the copy is written.
    """
    with ZipFile(path) as archive, ZipFile(plain, "w") as copy:
        root = archive.namelist()[0].partition("/")[0]
        for name in archive.namelist():
            if name != f"{root}/{INPUTS}":
                with archive.open(name) as source, copy.open(name, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target)
        copy.writestr(f"{root}/{INPUTS}", b"")
    plain.seek(0)


def check_records(reader: Any, path: Path) -> None:  # noqa: ANN401 the same
    """Refuse an archive that holds more than plain data.

    Raises:
        ModelError: naming the record.
    """
    names = set(reader.get_file_names())
    strange = sorted(name for name in names if RECORDS.fullmatch(name) is None)
    if strange:
        _refuse(path, f"holds {strange[0]!r}, which is no weight, graph or example input")
    if MODEL not in names:
        raise ModelError(f"{path} holds no exported program", SAVE_AGAIN)
    for config in CONFIGS:
        if config in names:
            check_payloads(json.loads(reader.read_bytes(config)), path)
    check_program(json.loads(reader.read_bytes(MODEL)), path)


def check_payloads(config: Any, path: Path) -> None:  # noqa: ANN401 JSON
    """Refuse tensors that are pickled, and objects that are no tensors.

    Raises:
        ModelError: naming the tensor.
    """
    for name, payload in config["config"].items():
        if payload["use_pickle"] or PAYLOAD.fullmatch(payload["path_name"]) is None:
            _refuse(path, f"holds {name!r} as a pickled object")


def check_program(program: Any, path: Path) -> None:  # noqa: ANN401 JSON
    """Refuse operators, sizes and structures that are not torch's own.

    Raises:
        ModelError: naming the operator, size or structure; or the program was exported in training mode.
    """
    for table in _tables(program):
        if "target" in table and "inputs" in table:
            _check_operator(table["target"], path)
            _check_mode(table, path)
        if "as_operator" in table:
            _check_operator(table["as_operator"], path)
        if "expr_str" in table and not is_arithmetic(table["expr_str"]):
            _refuse(path, f"has the size {table['expr_str']!r}, which is no arithmetic")
        for key in SPECS:
            if isinstance(table.get(key), str):
                _check_tree(json.loads(table[key]), path)


def is_arithmetic(size: str) -> bool:
    """Whether a size, which torch evaluates as Python, is made of symbols, numbers and known functions only."""
    try:
        tree = ast.parse(size.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(_is_harmless(node) for node in ast.walk(tree))


def _is_harmless(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in SIZE_FUNCTIONS
    if isinstance(node, ast.Name):
        return node.id in SIZE_FUNCTIONS or node.id in SIZE_NAMES or SYMBOL_OR_NUMBER.fullmatch(node.id) is not None
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return SYMBOL_OR_NUMBER.fullmatch(node.value) is not None
        return isinstance(node.value, int | float)
    return isinstance(node, SIZE_SYNTAX)


def _tables(value: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 JSON
    """Every object in a JSON value."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _check_operator(target: str, path: Path) -> None:
    head, _, name = target.partition(".")
    if not (OPERATORS.fullmatch(target) or (head == "_operator" and name in ARITHMETIC)):
        _refuse(path, f"calls {target!r}, which is no operator of torch")


def _check_mode(node: dict[str, Any], path: Path) -> None:
    for given in node["inputs"]:
        if given.get("name") in {"train", "training"} and given.get("arg", {}).get("as_bool") is True:
            message = (
                f"{path} was exported in training mode: node {node.get('name') or node['target']!r} is random or learns"
            )
            raise ModelError(message, SAVE_AGAIN)


def _check_tree(spec: Any, path: Path) -> None:  # noqa: ANN401 JSON
    for table in _tables(spec):
        if "__enum__" in table or table.get("type") not in PLAIN_TREES:
            _refuse(path, f"takes or gives a {table.get('type') or 'value'} that is no tuple, list or dictionary")


def _refuse(path: Path, what: str) -> None:
    raise ModelError(f"{path} {what}", f"such a file could run code when it is read; {SAVE_AGAIN}")

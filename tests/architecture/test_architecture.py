"""The house keeps its own rules."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
BANNED_NAMES = {"util", "utils", "helper", "helpers", "manager", "common", "misc", "base", "handler", "handlers"}
VENDORS = {
    "onnxruntime": "backends/onnxruntime",
    "openvino": "backends/openvino",
    "tvm": "backends/tvm",
    "tensorrt": "backends/tensorrt",
    "torch": ("graph/export_torch.py", "backends/torch"),
    "pyarrow": "data/",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT / "src" / "assay").as_posix()


def trees() -> list[tuple[str, ast.Module]]:
    return [(name_of(path), ast.parse(path.read_text(encoding="utf-8"))) for path in SOURCES]


def test_files_are_short() -> None:
    long = {name_of(p): n for p in SOURCES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long


def test_functions_are_short() -> None:
    long = {
        f"{name}:{node.name}": count_code_lines(node)
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and count_code_lines(node) > 40
    }
    assert not long


def count_code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring, which is no logic and must not be cut to please a number."""
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    assert node.end_lineno is not None
    assert first.end_lineno is not None
    return node.end_lineno - node.lineno + 1 - (first.end_lineno - first.lineno + 1 if is_docstring else 0)


def test_names_say_something() -> None:
    assert not [name for name in map(name_of, SOURCES) if Path(name).stem.strip("_") in BANNED_NAMES]


def test_vendors_stay_in_their_rooms() -> None:
    strays = [
        f"{name}: {module}"
        for name, tree in trees()
        for node in ast.walk(tree)
        for module in imported_modules(node)
        if (room := VENDORS.get(module.split(".")[0])) and not name.startswith(room)
    ]
    assert not strays


def imported_modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module]
    return []


def test_nothing_forbidden_is_called() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in {"time.time", "pickle.load", "pickle.loads", "eval"}
        )
        or (isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False")
        or (isinstance(node, ast.Import) and any(alias.name == "pickle" for alias in node.names))
        or (isinstance(node, ast.Raise) and node.exc is not None and "NotImplementedError" in ast.unparse(node.exc))
    ]
    assert not found


def test_nothing_is_left_to_fix() -> None:
    pattern = re.compile(r"\b(TODO|FIXME|XXX)\b")
    assert not [name_of(p) for p in SOURCES if pattern.search(p.read_text(encoding="utf-8"))]


def test_number_formats_are_spelled_in_one_enum() -> None:
    formats = {"fp32", "bf16", "fp16", "int8"}
    found = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        # an adapter translates its runtime's own words, which may be spelled alike
        if name != "core/precision.py" and not name.startswith(("backends/", "measure/machine"))
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in formats
    ]
    assert not found


def test_imports_point_downwards() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_package_introduces_itself() -> None:
    packages = [path for path in SOURCES if path.name == "__init__.py" and len(path.relative_to(ROOT).parts) == 4]
    assert packages
    for path in packages:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert "Must not know" in text, name_of(path)


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"])
def test_named_paths_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|tests|bench|docs|examples|requirements)/[\w./-]*)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_a_bare_import_is_light() -> None:
    code = (
        "import sys, assay; print([m for m in ('onnxruntime', 'openvino', 'torch', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""A group of commands whose modules are loaded only when called, so that help and errors come at once."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import click

MARGIN = 6
"""Columns of a list of commands that hold neither a name nor what is said of it."""


class LazyGroup(click.Group):
    """Commands by name.

    Args:
        paths: name -> ``module:function``.
    """

    def __init__(self, *args: object, paths: Mapping[str, str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type] # passed on to click as they come
        self.paths = paths

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        del ctx
        return sorted(self.paths)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by name."""
        path = self.paths.get(cmd_name)
        if path is None:
            return super().get_command(ctx, cmd_name)
        module, _, function = path.partition(":")
        return cast("click.Command", getattr(import_module(module), function))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by what their source says of them: importing all of them takes seconds."""
        names = self.list_commands(ctx)
        width = formatter.width - MARGIN - max(map(len, names))
        said = [click.Command(name, help=read_docstring(self.paths[name])).get_short_help_str(width) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(list(zip(names, said, strict=True)))


def read_docstring(path: str) -> str | None:
    """What the source says of a function, without running it.

    Args:
        path: ``module:function``.
    """
    module, _, function = path.partition(":")
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    found = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    return next((ast.get_docstring(node) for node in found), None)

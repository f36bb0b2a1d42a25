"""A group of commands whose modules are loaded only when called, so that help and errors come at once."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import cast

import click


class LazyGroup(click.Group):
    """Commands by name.

    Args:
        paths: name -> ``module:attribute``.
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
        module, _, attribute = path.partition(":")
        return cast("click.Command", getattr(import_module(module), attribute))

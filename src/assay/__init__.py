"""Assay: the cheapest number format that is provably good enough, on the machine that will serve it.

Public: ``study`` runs a study and ``open_study`` reads one, each giving a ``Study``; ``load`` opens a release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.api import Study, load, open_study, study

__all__ = ["Study", "load", "open_study", "study"]


def __getattr__(name: str) -> object:
    """Load the interface when it is first used, so that importing Assay stays light."""
    if name in __all__:
        from assay import api  # noqa: PLC0415 - this is the point

        return getattr(api, name)
    raise AttributeError(f"module 'assay' has no attribute {name!r}")

"""Moved to ``assay.studies.record``."""

from assay.studies.record import *  # noqa: F403

"""Moved to ``assay.studies``."""

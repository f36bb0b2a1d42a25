"""Nouns, errors and protocols: frozen, without I/O, without a vendor import.

Must not know: any file, any runtime, any other package of Assay.
Public: the modules' own names, imported from their modules, such as ``assay.core.plan.Plan``.
"""

"""Nouns, errors and protocols: frozen, without I/O, without a vendor import.

Must not know: any file, any runtime, any other package of Assay.
Public: the modules' own names; import them from their modules (``assay.core.plan.Plan``).
"""

"""The command line: one file per command, each of them parse, call, print.

Must not know: any rule of the product.
Public: ``main``.
"""

from assay.cli.program import main

__all__ = ["main"]

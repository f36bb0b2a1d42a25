"""Assay: the cheapest number format that is provably good enough, on the machine that will serve it."""

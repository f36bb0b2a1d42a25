"""One file per command: parse, call, print.

Must not know: any rule of the product.
"""

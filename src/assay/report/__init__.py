"""Draws a stored study as HTML, Markdown and JSON.

Must not know: how to make a study.
"""

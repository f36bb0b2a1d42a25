"""Runs the loop, stores every trial, resumes, releases.

Must not know: HTML, HTTP.
"""

"""From trials and requirements to the next plans, or to a decision. Pure.

Must not know: files, runtimes, clocks.
"""

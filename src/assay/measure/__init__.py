"""Tasks and item scores, paired statistics, load generation, memory, energy.

Must not know: how an artifact was made.
"""

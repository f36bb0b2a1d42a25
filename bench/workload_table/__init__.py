"""Parts of `workloads.py`: the examples and what they state, running them, and the table."""

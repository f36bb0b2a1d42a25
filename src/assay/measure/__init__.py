"""Tasks and item scores, paired statistics, load generation, memory, energy, the machine.

Must not know: how an artifact was made.
Public: ``tasks.table``, ``statistics.*``, ``quality``, ``guards``, ``latency``, ``throughput``,
``stability``, ``interference``, ``group_times``, ``scenarios.*``, ``memory``, ``energy``, ``machine``
"""

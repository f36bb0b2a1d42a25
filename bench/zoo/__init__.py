"""Real pairs of a trained network and labelled data, made from packages of public registries.

One module per pair, each with a ``make_*`` that writes what it needs into a folder and gives a ``Pair``.
Public: ``pair.Pair``, ``catalogue.PAIRS``.
"""

"""What is sent arrives: of any rank, and texts as a runtime gives them."""

from __future__ import annotations

import socket

import numpy as np

from assay.studies.wire import Message, Wire, Word


def test_arrays_arrive_as_they_were() -> None:
    arrays = {
        "scalar": np.array(2.5, np.float32),
        "table": np.arange(6.0).reshape(2, 3).T,
        "none": np.zeros((0, 4), np.int64),
        "labels": np.array(["cat", "", "Wolfshündin"], dtype=object),
    }
    one, other = socket.socketpair()
    with one, other:
        Wire(one).send(Message(Word.OUTPUTS), arrays)
        message, got = Wire(other).receive()
    assert message.word is Word.OUTPUTS
    assert {name: array.shape for name, array in got.items()} == {name: array.shape for name, array in arrays.items()}
    for name, array in arrays.items():
        assert got[name].tolist() == array.tolist()

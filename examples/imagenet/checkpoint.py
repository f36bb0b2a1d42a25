"""Read the tensors of a PyTorch checkpoint as plain data: no PyTorch is needed, and nothing in the file runs.

The file is in PyTorch's format of before 2020: four pickles (a magic number, a version, the machine, the state), a
pickle that lists the storages, then the storages themselves, each with its length in front. Instead of being
unpickled, the state's opcodes are read with ``pickletools`` and only those that build tensors are understood.
"""

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = 0x1950A86A20F9469CFC6C
TYPES: dict[str, np.dtype[Any]] = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}
REBUILD = "torch._utils _rebuild_tensor_v2"

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies: storage key, type, first element, shape and steps in elements."""

    key: str
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def take_from(self, storage: NDArray[Any]) -> NDArray[Any]:
        """Return a copy of the tensor's elements."""
        places = np.full(self.shape, self.offset)
        for axis, (length, step) in enumerate(zip(self.shape, self.stride, strict=True)):
            places += np.expand_dims(np.arange(length) * step, tuple(range(1, len(self.shape) - axis)))
        taken: NDArray[Any] = storage[places]
        return taken


@dataclass
class Machine:
    """The stack and memo of a pickle that is read without running it."""

    mark: object = field(default_factory=object)
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def pop_to_mark(self) -> list[Any]:
        """Take everything above the last mark, and the mark."""
        place = max(index for index, entry in enumerate(self.stack) if entry is self.mark)
        taken = self.stack[place + 1 :]
        del self.stack[place:]
        return taken

    def append(self) -> None:
        """Put what is above the mark into the list below it."""
        entries = self.pop_to_mark()
        self.stack[-1].extend(entries)

    def set_items(self) -> None:
        """Put the pairs above the mark into the dictionary below it."""
        pairs = self.pop_to_mark()
        self.stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))

    def set_item(self) -> None:
        """Put one pair into the dictionary below it."""
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1][key] = value

    def call(self) -> None:
        """Stand in for the two calls that a state dictionary needs."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if function == "collections OrderedDict":
            self.stack.append({})
        elif function == REBUILD:
            (_, kind, key, _, _, _), offset, shape, stride = arguments[:4]
            self.stack.append(StoredTensor(key, TYPES[kind], offset, shape, stride))
        else:
            raise ValueError(f"the checkpoint calls {function}, which is never done")

    def group(self, count: int) -> None:
        """Make a tuple of the top ``count`` entries."""
        self.stack[-count:] = [tuple(self.stack[-count:])]


def read_pickle(file: io.BufferedReader) -> Any:  # noqa: ANN401 - whatever the pickle holds
    """Return the plain value of the next pickle of ``file``."""
    machine = Machine()
    stack, memo = machine.stack, machine.memo
    constants = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
    actions: dict[str, Callable[[], object]] = {
        "MARK": lambda: stack.append(machine.mark),
        "EMPTY_DICT": lambda: stack.append({}),
        "EMPTY_LIST": lambda: stack.append([]),
        "TUPLE": lambda: stack.append(tuple(machine.pop_to_mark())),
        "TUPLE1": lambda: machine.group(1),
        "TUPLE2": lambda: machine.group(2),
        "APPENDS": machine.append,
        "SETITEM": machine.set_item,
        "SETITEMS": machine.set_items,
        "REDUCE": machine.call,
        "BUILD": stack.pop,  # attributes of the dictionary: versions of the layers
        "BINPERSID": lambda: None,  # the storage's description is on the stack already
        "PROTO": lambda: None,
        "STOP": lambda: None,
    }
    argument: Any
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in constants:
            stack.append(constants[opcode.name])
        elif opcode.name in {"BINPUT", "LONG_BINPUT"}:
            memo[argument] = stack[-1]
        elif opcode.name in {"BINGET", "LONG_BINGET"}:
            stack.append(memo[argument])
        elif opcode.name in {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "GLOBAL"}:
            stack.append(argument)
        elif opcode.name in actions:
            actions[opcode.name]()
        else:
            raise ValueError(f"the checkpoint holds the opcode {opcode.name}, which no state needs")
    return stack.pop()


def read_checkpoint(path: Path) -> Tensors:
    """Return the tensors of a checkpoint by name."""
    with path.open("rb") as file:
        if read_pickle(file) != MAGIC:
            raise ValueError(f"{path} is no PyTorch checkpoint of the old format")
        read_pickle(file)
        read_pickle(file)
        state: dict[str, StoredTensor] = read_pickle(file)
        types = {tensor.key: tensor.dtype for tensor in state.values()}
        storages = {}
        for key in read_pickle(file):
            count = int.from_bytes(file.read(8), "little")
            storages[key] = np.frombuffer(file.read(count * types[key].itemsize), types[key])
    return {name: tensor.take_from(storages[tensor.key]) for name, tensor in state.items()}

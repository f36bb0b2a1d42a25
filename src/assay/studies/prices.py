"""The user's price file: TOML with one ``[[machine]]`` table per machine type."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path

import msgspec

from assay.core.errors import RequestError
from assay.core.price import Price

FORM = 'write [[machine]] tables with name, price_per_hour and currency, such as currency = "USD"'


class MachineTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ``[[machine]]`` table: see ``assay.core.price.Price`` for each key."""

    name: str
    price_per_hour: float
    currency: str
    cores: int | None = None
    source: str = ""
    date: str = ""
    grid_g_per_kwh: float | None = None


class PriceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A price file."""

    machine: tuple[MachineTable, ...]


def read_prices(path: Path) -> tuple[Price, ...]:
    """All machines of a price file, in its order.

    Raises:
        RequestError: it is missing, not TOML, has a wrong key or value, no machine, or a name twice.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"cannot read the price file {path}: {error.strerror}", FORM) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(f"{path} is not valid TOML: {error}", FORM) from error
    for table in content.get("machine", []) if isinstance(content.get("machine"), list) else []:
        if isinstance(table, dict) and "date" in table:
            table["date"] = str(table["date"])  # a date needs no quotes in TOML
    try:
        file = msgspec.convert(content, PriceFile, strict=True)
    except msgspec.ValidationError as error:
        raise explain(path, str(error)) from error
    if not file.machine:
        raise RequestError(f"{path} names no machine", FORM)
    prices = tuple(Price(**msgspec.structs.asdict(table)) for table in file.machine)
    names = [price.name for price in prices]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RequestError(f"{path} names machine {twice!r} twice", "keep one of them")
    return prices


def find_price(path: Path, name: str | None) -> Price:
    """The price of one machine; a file with a single machine needs no name.

    Raises:
        RequestError: the file is wrong, has no such machine, or has several and none is named.
    """
    prices = {price.name: price for price in read_prices(path)}
    known = ", ".join(prices)
    if name is None:
        if len(prices) > 1:
            raise RequestError(f"{path} has {len(prices)} machines and none is named", f"give --machine: {known}")
        return next(iter(prices.values()))
    if name not in prices:
        near = difflib.get_close_matches(name, prices, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"its machines are {known}"
        raise RequestError(f"{path} has no machine {name!r}", hint)
    return prices[name]


def explain(path: Path, text: str) -> RequestError:
    """A validation error in our words: which machine, which key."""
    where = re.search(r"machine\[(?P<index>[\d.]+)\](?:\.(?P<key>\w+))?", text)
    place = f"machine {int(where['index']) + 1}" if where and where["index"].isdigit() else "machine"
    key = f", key {where['key']!r}" if where and where["key"] else ""
    return RequestError(f"{path}: {place}{key}: {text.split(' - at', maxsplit=1)[0].lower()}", FORM)

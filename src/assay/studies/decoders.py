"""From the keys of a study file to what a detector's raw outputs mean."""

from __future__ import annotations

import difflib
from typing import Any

import msgspec

from assay.core.decoding import Decoder, Decoding
from assay.core.errors import RequestError
from assay.studies.config import DecodingSection, StudyFile


def compose_decoding(keys: StudyFile) -> Decoding | None:
    """The decoding of a request; None where the keys say nothing of it.

    Raises:
        RequestError: the decoder is unknown, or a key has an impossible value.
    """
    if keys.decoder is None and keys.decoding is None:
        return None
    section = keys.decoding or DecodingSection()
    # The edge: what the table sets, by its own names, which are the class's.
    given: dict[str, Any] = {
        field.name: getattr(section, field.name)
        for field in msgspec.structs.fields(DecodingSection)
        if getattr(section, field.name) is not None
    }
    return Decoding(decoder=find_decoder(keys.decoder or Decoder.ROWS), **given)


def find_decoder(name: str) -> Decoder:
    """A decoder by name.

    Raises:
        RequestError: there is none; the hint has the nearest.
    """
    known = tuple(str(decoder) for decoder in Decoder)
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise RequestError(f"decoder {name!r} is unknown", f"{hint}decoders are {', '.join(known)}")
    return Decoder(name)

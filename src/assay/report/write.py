"""Writes a report's files, each whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay.core.explanation import Explanation
from assay.report.document import encode_document
from assay.report.html import render_html
from assay.report.markdown import render_markdown
from assay.studies.files import make_folder, write_bytes
from assay.studies.record import StudyRecord


def write_report(record: StudyRecord, folder: Path, explanations: Sequence[Explanation] = ()) -> tuple[Path, ...]:
    """Write ``report.html``, ``report.md`` and ``report.json``, and give back their paths.

    Everything is rendered before anything is written.

    Args:
        record: of the study.
        folder: made where it is missing.
        explanations: that were kept of its trials.

    Raises:
        StoreError: the folder cannot be made or written to.
    """
    contents = {
        "report.html": render_html(record, explanations).encode(),
        "report.md": render_markdown(record, explanations).encode(),
        "report.json": encode_document(record, explanations),
    }
    make_folder(folder)
    for name, content in contents.items():
        write_bytes(folder / name, content)
    return tuple(folder / name for name in contents)

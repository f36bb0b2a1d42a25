"""Writes a report's files, each whole or not at all."""

from __future__ import annotations

from pathlib import Path

from assay.report.document import encode_document
from assay.report.html import render_html
from assay.report.markdown import render_markdown
from assay.studies.files import make_folder, write_bytes
from assay.studies.record import StudyRecord


def write_report(record: StudyRecord, folder: Path) -> tuple[Path, ...]:
    """Write ``report.html``, ``report.md`` and ``report.json``, and give back their paths.

    Everything is rendered before anything is written.

    Raises:
        StoreError: the folder cannot be made or written to.
    """
    contents = {
        "report.html": render_html(record).encode(),
        "report.md": render_markdown(record).encode(),
        "report.json": encode_document(record),
    }
    make_folder(folder)
    for name, content in contents.items():
        write_bytes(folder / name, content)
    return tuple(folder / name for name in contents)

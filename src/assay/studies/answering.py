"""What every worker process does around its work: read a job from a file, do it, write the reply to another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from assay.studies.following import follow
from assay.studies.marking import Marker

Job = TypeVar("Job")


def answer_job(places: list[str], read: Callable[[bytes], Job], work: Callable[[Job], object]) -> int:
    """Read the job, do it, write the reply; the exit status is 0 when a reply stands.

    Args:
        places: the parent's process id, and the files of job and reply.
        read: decodes the job.
        work: does it; what it fails at is in its reply.
    """
    parent, job_path, reply_path = places
    follow(int(parent))
    write_reply(Path(reply_path), work(read(Path(job_path).read_bytes())))
    return 0


def answer_marked_job(places: list[str], read: Callable[[bytes], Job], work: Callable[[Job, Marker], object]) -> int:
    """As ``answer_job``, with a fourth place: the file of the marks that the work leaves on its way."""
    with Marker(Path(places[3])) as marker:
        return answer_job(places[:3], read, lambda job: work(job, marker))


def write_reply(path: Path, reply: object) -> None:
    """Write a reply so that it is whole where it is."""
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(reply))
    part.replace(path)

"""``assay study``: measure every format, decide, keep everything."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from assay.cli.drawing import TerminalProgress
from assay.cli.printing import print_json, stdout_kept
from assay.report.console import print_study
from assay.report.document import show_document
from assay.report.write import write_report
from assay.studies.compose import compose_request
from assay.studies.config import DataSection, StudyFile, anchor, override, read_study_file
from assay.studies.explanations import load_explanations
from assay.studies.ingesting import ingest_model
from assay.studies.loop import run_study
from assay.studies.store import load_record


def split_names(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Names between commas."""
    return None if value is None else tuple(part.strip() for part in value.split(",") if part.strip())


@click.command()
@click.argument("subject", metavar="MODEL|STUDY.toml", type=click.Path(path_type=Path))
@click.option("--task", help="What the model does, such as classification.")
@click.option("--decoder", metavar="NAME", help="What reads a detector's raw head, such as yolov8.")
@click.option(
    "--calibration", metavar="DATA", help="Items for INT8 ranges: .npz, image folder, .parquet, mod:function, or a set."
)
@click.option("--evaluation", metavar="DATA", help="Labelled items that quality is measured on.")
@click.option("--production", metavar="DATA", help="Sample of what is served, to judge the calibration items by.")
@click.option("--accept-unfit", is_flag=True, default=None, help="Build INT8 from calibration items judged unfit, too.")
@click.option("--tolerance", metavar="TEXT", help="Tolerated drop: 'top1: 0.5pp', 'top1: 0.005' or 'top1: 1%'.")
@click.option("--confidence", type=float, help="One-sided confidence of every bound (default 0.95).")
@click.option("--minimize", metavar="NAME", help="latency, memory, size or cost (default latency).")
@click.option("--maximize", metavar="NAME", help="throughput.")
@click.option("--constraint", "constraints", multiple=True, metavar="TEXT", help="'p99 <= 10ms'; may be repeated.")
@click.option(
    "--slice", "slices", multiple=True, metavar="TEXT", help="'class: 5pp' or 'COLUMN: 5pp'; may be repeated."
)
@click.option("--threshold", metavar="RULE", help="A number, 'max-f1', 'recall >= 0.9' or 'precision >= 0.95'.")
@click.option("--tuning-items", type=int, help="Evaluation items that thresholds are tuned on (default a fifth).")
@click.option(
    "--sequential/--full", default=None, help="Certify only until the items tell (default), or on all of them."
)
@click.option("--accept-unresolvable", is_flag=True, default=None, help="Go on with too few items for the tolerance.")
@click.option("--price-per-hour", type=float, help="Of the serving machine, in your currency.")
@click.option("--prices", metavar="FILE", help="Price file (TOML), instead of --price-per-hour.")
@click.option("--machine", metavar="NAME", help="Machine of the price file; may be left out where it has only one.")
@click.option("--device", metavar="FILE", help="Device profile (TOML): its runtimes, threads and limits; flags win.")
@click.option("--runtimes", callback=split_names, metavar="A,B", help="Default onnxruntime,openvino.")
@click.option("--build-for", callback=split_names, metavar="A,B", help="Devices not here to build for, such as sm75.")
@click.option(
    "--precisions",
    callback=split_names,
    metavar="A,B",
    help="Out of fp32,bf16,fp16,int8,fp8,int4 (default the first four).",
)
@click.option(
    "--ranges",
    callback=split_names,
    metavar="A,B",
    help="Out of min-max,mse,weighted-mse,percentile,moving-average,entropy,best (default mse,min-max); none: no "
    "static INT8.",
)
@click.option(
    "--repairs", callback=split_names, metavar="A,B", help="Out of equalise,outliers,smooth,bias,round, or none."
)
@click.option("--batch", type=int, help="Items per call at which latency is measured (default 1).")
@click.option("--threads", type=int, help="Compute threads of the deployment (default 1).")
@click.option("--latency-seconds", type=float, help="Budget of the latency measurement (default 60).")
@click.option("--trial-seconds", type=float, help="No answer for longer fails the trial (default 600).")
@click.option("--trial-memory", metavar="SIZE", help="Taking more fails the trial, such as 4GiB (default 80% of free).")
@click.option("--mixed-plans", type=int, help="Most mixed plans for a strained INT8 form (default 4; 0 for none).")
@click.option("--mixed-seconds", type=float, help="No mixed plan is begun after this time (default 600).")
@click.option("--output", metavar="FOLDER", help="The study's folder.")
@click.option("--title", help="Heading of the report.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON (schema 1).")
def study(subject: Path, as_json: bool, **flags: object) -> int:  # noqa: FBT001 - a flag of the command line
    """Find the cheapest number format of a model that is good enough.

    Give the model with flags, or a study file (`assay init` writes one); flags override the file. The model is an
    .onnx file, or with PyTorch a .pt2 file of torch.export.save or module:function. The same command
    again resumes an interrupted study, and does nothing where all is done.

    Exit status: 0 chosen, 10 nothing meets the requirements, 11 the data cannot tell, 2 wrong input,
    3 the reference cannot run, 4 the calibration items are unfit and nothing is asked for that needs none,
    5 the folder cannot be written.
    """
    asked = compose_request(collect_keys(subject, flags))
    console = Console(stderr=True)
    with TerminalProgress(console) as progress, stdout_kept():
        request = ingest_model(asked, progress)
        record = run_study(request, progress)
    explanations = load_explanations(request.output)
    written = write_report(record, request.output, explanations)
    if as_json:
        print_json(show_document(load_record(request.output), explanations))
    else:
        print_study(record, Console(), explanations)
        Console().print(f"report: {written[0]}", highlight=False, soft_wrap=True)
    sys.stdout.flush()
    return record.decision.status.exit_code


def collect_keys(subject: Path, flags: dict[str, object]) -> StudyFile:
    """All keys of a call: the study file's, if one is given, under the flags'."""
    data = {
        name: DataSection(path=str(flags.pop(name))) if flags[name] else flags.pop(name)
        for name in ("calibration", "evaluation", "production")
    }
    for name in ("constraints", "slices"):
        flags[name] = flags[name] or None
    above = StudyFile(**flags, **data)  # type: ignore[arg-type] # the options above have the keys' types
    if subject.suffix == ".toml":
        return override(anchor(read_study_file(subject), subject.parent), above)
    return override(StudyFile(model=str(subject)), above)

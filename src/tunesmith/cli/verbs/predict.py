"""`tunesmith predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal, Optional

import typer

from tunesmith.cli.arguments import COLUMN, FORCE, JSON, RUN, parse_columns, refuse_existing


def verb(
    run: str = RUN,
    texts: list[str] = typer.Argument(None, help="Texts. Without any, a file or standard input is read."),
    data: list[str] = typer.Option([], "--data", help="A file of texts. Repeatable."),
    column: list[str] = COLUMN,
    output: Optional[Path] = typer.Option(None, help="The file to write: .jsonl or .csv."),
    output_format: Optional[Literal["jsonl", "csv"]] = typer.Option(
        None, "--format", help="The output format. By default from the ending of the output file, else jsonl."
    ),
    top_k: int = typer.Option(1, "--top-k", min=1, help="Return the best K labels with their scores."),
    bad_rows: Literal["stop", "keep"] = typer.Option(
        "stop", "--bad-rows", help="At a row that cannot be used: stop, or keep it with its error."
    ),
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Predict for texts, for a file, or for the lines of standard input.

    Rows are streamed, so a file may be larger than the memory.
    """
    from tunesmith.errors import RecipeError
    from tunesmith.inference import streaming
    from tunesmith.inference.predictor import Predictor
    from tunesmith.run.locking import refuse_several_processes

    refuse_several_processes()
    if texts and data:
        raise RecipeError("texts and --data cannot be given together.", remedy="Leave one out.")
    if output is not None:
        refuse_existing(output, force=force)
    predictor = Predictor.from_run(run)
    for note in predictor.notes:
        typer.echo(note, err=True)
    if data:
        rows, named = streaming.rows_of_files(data), parse_columns(column)
        names = streaming.names_of_files(data)
    else:
        task = predictor.task
        if not texts and sys.stdin.isatty():
            typer.echo("Reading texts, one per line; Ctrl-D ends.", err=True)
        needed = predictor.needed
        rows = (
            streaming.rows_of_texts(texts, task, needed)
            if texts
            else streaming.rows_of_lines(sys.stdin, task, needed)
        )
        named, names = {}, {}
    lines = streaming.predict_rows(
        predictor,
        rows,
        named,
        keep_bad_rows=bad_rows == "keep",
        top_k=top_k,
        from_files=bool(data),
        names=names,
    )
    _write(lines, output, output_format, as_json)


def _write(lines: object, output: Path | None, output_format: str | None, as_json: bool) -> None:
    from tunesmith.cli.output import print_json, print_line
    from tunesmith.inference import streaming

    chosen = output_format or ("csv" if output is not None and output.suffix == ".csv" else "jsonl")
    write = streaming.write_csv if chosen == "csv" else streaming.write_json_lines
    if output is None:
        if as_json:
            print_json({"predictions": list(lines)})  # type: ignore[call-overload]
        else:
            write(lines, sys.stdout)  # type: ignore[arg-type]
        return
    aside = output.with_name(f".{output.name}.part")
    try:
        with aside.open("w", encoding="utf-8", newline="") as handle:
            count = write(lines, handle)  # type: ignore[arg-type]
        aside.replace(output)
    finally:
        aside.unlink(missing_ok=True)
    if as_json:
        print_json({"output": str(output), "rows": count})
    else:
        print_line(f"{count:,} predictions in {output}")

"""`tunesmith predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Optional

import typer

from tunesmith.cli.arguments import COLUMN, FORCE, JSON, RUN, parse_columns, refuse_existing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tunesmith.inference.predictor import Predictor
    from tunesmith.inference.streaming import Source
    from tunesmith.types import JsonObject


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
    """Predict for texts, a file, or standard input.

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
    lines = streaming.predict_rows(
        predictor,
        streaming.rows_of_files(data) if data else _rows_of_texts(predictor, texts),
        parse_columns(column) if data else {},
        keep_bad_rows=bad_rows == "keep",
        top_k=top_k,
        from_files=bool(data),
        names=streaming.names_of_files(data),
    )
    _write(lines, output, output_format, as_json)


def _rows_of_texts(predictor: Predictor, texts: Sequence[str]) -> Source:
    """Rows from the arguments, or from standard input if there are none."""
    from tunesmith.inference import streaming

    if texts:
        return streaming.rows_of_texts(texts, predictor.task, predictor.needed)
    if sys.stdin.isatty():
        typer.echo("Reading texts, one per line; Ctrl-D ends.", err=True)
    return streaming.rows_of_lines(sys.stdin, predictor.task, predictor.needed)


def _write(
    lines: Iterator[JsonObject], output: Path | None, output_format: str | None, as_json: bool
) -> None:
    from tunesmith.cli.output import print_json, print_line
    from tunesmith.inference import streaming

    chosen = output_format or ("csv" if output is not None and output.suffix == ".csv" else "jsonl")
    write = streaming.write_csv if chosen == "csv" else streaming.write_json_lines
    if output is None:
        if as_json:
            print_json({"predictions": list(lines)})
        else:
            write(lines, sys.stdout)
        return
    aside = output.with_name(f".{output.name}.part")
    try:
        with aside.open("w", encoding="utf-8", newline="") as handle:
            count = write(lines, handle)
        aside.replace(output)
    finally:
        aside.unlink(missing_ok=True)
    if as_json:
        print_json({"output": str(output), "rows": count})
    else:
        print_line(f"{count:,} predictions in {output}")

"""`tunesmith predict`."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Optional

import typer

from tunesmith.cli.arguments import COLUMN, DATA, FORCE, JSON, OUTPUT, RUN, parse_columns, refuse_existing
from tunesmith.cli.completion import complete_formats

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tunesmith.inference.predictor import Predictor
    from tunesmith.inference.streaming import Source
    from tunesmith.types import JsonObject

EXAMPLES = (
    'tunesmith predict runs/reviews "The left crank came off again"',
    "tunesmith predict runs/reviews --data new.csv --output answers.csv",
    "tunesmith predict runs/reviews --top-k 3 < texts.txt",
)


_TEXTS = typer.Argument(None, help="Texts. Without any, a file or standard input is read.")
_DATA = typer.Option([], "--data", help="A file of texts. Repeatable.", rich_help_panel=DATA)
_BAD_ROWS = typer.Option(
    "stop",
    "--bad-rows",
    help="At a row that cannot be used: stop, or keep it with its error.",
    rich_help_panel=DATA,
)
_TOP_K = typer.Option(
    1, "--top-k", min=1, help="Return the best K labels with their scores.", rich_help_panel=OUTPUT
)
_SET = typer.Option(
    None,
    "--set",
    help="Add a set of labels (or an interval) that holds the true one with this probability: 0.95.",
    rich_help_panel=OUTPUT,
)
_OUTPUT = typer.Option(
    None,
    "--output",
    "-o",
    help="The file to write: .jsonl, .csv, .tsv or .parquet.",
    rich_help_panel=OUTPUT,
)
_FORMAT = typer.Option(
    None,
    "--format",
    help="The output format: jsonl, csv, tsv or parquet. By default from the ending of the file, else jsonl.",
    autocompletion=complete_formats,
    rich_help_panel=OUTPUT,
)


def verb(
    run: str = RUN,
    texts: list[str] = _TEXTS,
    data: list[str] = _DATA,
    column: list[str] = COLUMN,
    bad_rows: Literal["stop", "keep"] = _BAD_ROWS,
    top_k: int = _TOP_K,
    coverage: Optional[float] = _SET,
    output: Optional[Path] = _OUTPUT,
    output_format: Optional[str] = _FORMAT,
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Predict for texts, a file, or standard input.

    Rows are streamed, so a file may be larger than the memory.
    """
    from tunesmith.inference import streaming
    from tunesmith.inference.doubts import Doubts
    from tunesmith.inference.predictor import Predictor
    from tunesmith.run.locking import refuse_several_processes

    refuse_several_processes()
    _refuse_misread_input(run, texts or [], data, column)
    chosen = _format_of(output, output_format, as_json=as_json)
    if output is not None:
        refuse_existing(output, force=force)
    predictor = Predictor.from_run(run)
    _refuse_top_k(predictor, top_k)
    for note in predictor.notes:
        typer.echo(note, err=True)
    notices: list[str] = []
    lines = streaming.predict_rows(
        predictor,
        streaming.rows_of_files(data, notices) if data else _rows_of_texts(predictor, texts),
        parse_columns(column),
        keep_bad_rows=bad_rows == "keep",
        top_k=top_k,
        coverage=coverage,
        from_files=bool(data),
        names=streaming.names_of_files(data),
    )
    doubts = Doubts(predictor)
    try:
        _write(doubts.counting(lines), output, chosen, as_json)
    finally:  # before an error, too, which a notice may explain
        for notice in dict.fromkeys([*notices, *doubts.sentences()]):
            typer.echo(f" ! {notice}", err=True)


def _refuse_misread_input(run: str, texts: Sequence[str], data: Sequence[str], column: Sequence[str]) -> None:
    """Raises RecipeError for a file where a text is expected, and for what would have no effect."""
    from tunesmith.errors import RecipeError

    if texts and data:
        raise RecipeError("texts and --data cannot be given together.", remedy="Leave one out.")
    file = next((text for text in texts if len(text) < 4096 and os.path.exists(text)), None)
    if file is not None:
        raise RecipeError(
            f"`{file}` is a file here, and a text is expected.",
            remedy=f"Did you mean `tunesmith predict {shlex.quote(run)} --data {shlex.quote(file)}`? "
            "A text with the name of a file is read from standard input.",
        )
    if column and not data:
        raise RecipeError(
            "--column has no effect without --data.", remedy="Leave it out, or give `--data FILE`."
        )


def _format_of(output: Path | None, asked: str | None, *, as_json: bool) -> str:
    """The format of the output, by its name or by the ending of its file.

    Raises:
        RecipeError: there is no such format, or it would have no effect.
    """
    from tunesmith.errors import RecipeError, did_you_mean
    from tunesmith.inference.writing import FORMATS

    if asked is not None and asked not in FORMATS:
        raise RecipeError(f"`{asked}` is not a format of predictions.", remedy=did_you_mean(asked, FORMATS))
    if output is None:
        if asked is not None and as_json:
            raise RecipeError(
                "--format has no effect with --json.", remedy="Leave one out, or give `--output`."
            )
        if asked == "parquet":
            raise RecipeError("Parquet is written to a file.", remedy="Give `--output FILE.parquet`.")
        return asked or "jsonl"
    ending = output.suffix.lower().removeprefix(".")
    if asked is not None and (ending not in FORMATS or ending == asked):
        return asked
    if ending not in FORMATS:
        known = ", ".join(f"`.{name}`" for name in FORMATS)
        raise RecipeError(
            f"the ending of `{output}` is no format of predictions.",
            remedy=f"Known endings: {known}. With another one, give `--format`.",
        )
    if asked is not None:
        raise RecipeError(
            f"`{output}` ends in .{ending}, and --format says {asked}.", remedy="Leave one out."
        )
    return ending


def _refuse_top_k(predictor: Predictor, top_k: int) -> None:
    from tunesmith.errors import RecipeError

    if top_k > 1 and predictor.task.alternatives is None:
        raise RecipeError(
            f"--top-k has no effect on `{predictor.task.name}`, which has one answer.", remedy="Leave it out."
        )


def _rows_of_texts(predictor: Predictor, texts: Sequence[str]) -> Source:
    """Rows from the arguments, or from standard input if there are none."""
    from tunesmith.inference import streaming

    if texts:
        return streaming.rows_of_texts(texts, predictor.task, predictor.needed)
    if sys.stdin.isatty():
        typer.echo("Reading texts, one per line; Ctrl-D ends.", err=True)
    return streaming.rows_of_lines(sys.stdin, predictor.task, predictor.needed)


def _write(lines: Iterator[JsonObject], output: Path | None, format_name: str, as_json: bool) -> None:
    from tunesmith.cli.output import print_json, print_line
    from tunesmith.inference.writing import TEXT_FORMATS, write_file

    if output is not None:
        count = write_file(lines, output, format_name)
        if as_json:
            print_json({"output": str(output), "rows": count})
        else:
            print_line(f"{count:,} predictions in {output}")
    elif as_json:
        print_json({"predictions": list(lines)})
    else:
        TEXT_FORMATS[format_name](lines, sys.stdout)

"""`tunesmith embed`."""

from __future__ import annotations

from pathlib import Path

import typer

from tunesmith.cli.arguments import COLUMN, FORCE, JSON, parse_columns


def verb(
    model: str = typer.Argument(
        ..., metavar="RUN|MODEL", help="A run folder, or a model: a folder or a Hub id."
    ),
    data: list[str] = typer.Option(..., "--data", help="A file of texts. Repeatable."),
    output: Path = typer.Option(..., "--output", "-o", help="The file to write: .parquet, .npy or .jsonl."),
    column: list[str] = COLUMN,
    normalize: bool = typer.Option(False, "--normalize", help="Scale every vector to length 1."),
    force: bool = FORCE,
    as_json: bool = JSON,
) -> None:
    """Turn texts into vectors, for search and clustering.

    Rows are streamed, so a file may be larger than the memory. Parquet and JSON lines keep the columns of the file
    beside the column `vector`; .npy holds the vectors alone, one row a text.
    """
    from tunesmith.cli.output import print_json, print_line
    from tunesmith.data.vector_files import refuse_output
    from tunesmith.inference.embedding import embed_files, open_embedder
    from tunesmith.run.locking import refuse_several_processes

    refuse_several_processes()
    refuse_output(output, force=force)
    embedder = open_embedder(model, normalize=normalize)
    for note in embedder.predictor.notes:
        typer.echo(note, err=True)
    facts = embed_files(embedder, data, parse_columns(column), output, force=force)
    typer.echo(
        "read: " + ", ".join(f"{ours} = `{theirs}`" for ours, theirs in facts["columns"].items()), err=True
    )
    if facts["truncated"]:
        typer.echo(
            f"! {facts['truncated']:,} texts are longer than the model reads and were truncated", err=True
        )
    if as_json:
        print_json(facts)
    else:
        print_line(f"{facts['rows']:,} vectors of {facts['dimensions']} numbers in {output}")

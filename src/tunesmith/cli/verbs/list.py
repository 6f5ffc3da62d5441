"""`tunesmith list`."""

from __future__ import annotations

from tunesmith.cli.arguments import JSON


def verb(as_json: bool = JSON) -> None:
    """Show what there is: tasks, methods, baselines, export formats, packaged models, verbs."""
    from tunesmith.cli import VERBS
    from tunesmith.cli.output import print_json, print_line, print_table
    from tunesmith.evaluation.baselines import BASELINES
    from tunesmith.exporters import EXPORTERS
    from tunesmith.models.packaged import PACKAGED
    from tunesmith.recipe import METHODS
    from tunesmith.tasks import TASKS

    tasks = {name: TASKS.get(name) for name in TASKS.names()}
    if as_json:
        print_json({
            "tasks": {name: task.summary for name, task in tasks.items()},
            "methods": list(METHODS),
            "baselines": list(BASELINES),
            "exporters": {name: EXPORTERS.get(name).summary for name in EXPORTERS.names()},
            "packaged_models": list(PACKAGED),
            "verbs": VERBS.names(),
        })  # fmt: skip
        return
    rows = [[name, _columns(task), task.primary_metric, task.summary] for name, task in tasks.items()]
    print_table(["task", "columns", "primary metric", "learns"], rows)
    print_line()
    for title, names in (
        ("methods", METHODS),
        ("baselines", BASELINES),
        ("export formats", EXPORTERS.names()),
        ("packaged models", PACKAGED),
        ("verbs", VERBS.names()),
    ):
        print_line(f"{title}: {', '.join(names)}")


def _columns(task: object) -> str:
    columns = getattr(task, "columns", ())
    return ", ".join(c.name if c.required else f"[{c.name}]" for c in columns)

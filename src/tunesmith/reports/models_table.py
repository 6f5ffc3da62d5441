"""The answer of `tunesmith models` as text: a line of facts for each model, and a line that says why.

Every number is in what `tunesmith models --json` prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tunesmith.metrics import METRICS
from tunesmith.models.memory import in_gb

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

WIDTH = 110
HEADER = ("model", "weights", "tokens", "licence", "epoch", "memory", "probe", "here")
_TITLES = {
    "recommended": "Recommended",
    "possible": "Possible, with something against it",
    "unfit": "Not for this",
}
_SIDES = ("rules out", "against", "for", "note")
_MARKS = {"for": "+", "against": "-", "rules out": "-", "note": "·"}


def in_time(seconds: float) -> str:
    """Seconds in words: `50 s`, `12 min`, `3.5 h`, `4 days`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 72 * 3600 else f"{seconds / 86400:.0f} days"


def models_table(models: Sequence[JsonObject]) -> list[list[str]]:
    """A row of cells for each model, in the order of `HEADER`."""
    return [
        [
            model["id"],
            in_millions(model["parameters"]),
            f"{model['context']:,}" if model["context"] else "",
            model["licence"],
            _about(model["cost"], lambda cost: in_time(cost["epoch_s"])),
            _about(model["cost"], lambda cost: in_gb(cost["memory_bytes"])),
            _probe(model["probe"]),
            model["available"] or "",
        ]
        for model in models
    ]


def models_lines(found: JsonObject, *, limit: int | None, with_unfit: bool = False) -> Iterator[str]:
    """The lines of the answer.

    Args:
        found: what `pipeline.suggesting.suggest_models` gave.
        limit: number of models that are shown of each group, see `_spread`; None for all.
        with_unfit: whether models are shown that cannot do it.
    """
    yield from _about_data(found)
    groups = [name for name in _TITLES if name != "unfit" or with_unfit]
    shown = {name: [it for it in found["models"] if it["verdict"] == name] for name in groups}
    picked = {name: _spread(group, limit) for name, group in shown.items()}
    rows = models_table([model for group in picked.values() for model in group])
    used = [i for i in range(len(HEADER)) if any(row[i] for row in rows)]
    widths = {i: max(len(row[i]) for row in (HEADER, *rows)) for i in used}
    widths[0] = min(widths[0], WIDTH - sum(widths[i] + 2 for i in used[1:]))
    yield from _line(HEADER, used, widths)
    for name, group in shown.items():
        if group and found["task"] is not None:
            yield f"\n{_TITLES[name]}"
        for model, row in zip(picked[name], models_table(picked[name]), strict=True):
            yield from _line(row, used, widths)
            yield from _why(model)
        if limit is not None and len(group) > limit:
            yield f"  and {len(group) - limit} more (`--limit`, or `--json` for all)"
    yield from _remarks(found, with_unfit=with_unfit)


def _spread(models: Sequence[JsonObject], limit: int | None) -> Sequence[JsonObject]:
    """The first models where a probe has ordered them, else some of every size, from fast to slow."""
    if limit is None or limit >= len(models) or any(model["probe"] for model in models):
        return models[:limit]
    chosen = {round(i * (len(models) - 1) / max(1, limit - 1)) for i in range(limit)}
    return [models[i] for i in sorted(chosen)]


def facts_lines(facts: JsonObject) -> Iterator[str]:
    """The facts of one model, each with its source.

    Args:
        facts: what `pipeline.suggesting.describe_model` gave.
    """
    shown = {
        "family": f"{facts['family']} ({facts['kind']})",
        "parameters": f"{facts['parameters']:,}",
        "licence": facts["licence"],
        "languages": ", ".join(facts["languages"]) or "not known",
        "context": f"{facts['context']:,} tokens" if facts["context"] else "no limit stated",
        "gated": "yes" if facts["gated"] else "no",
        "weights": facts["weights"],
        "config": _config(facts["config"]),
        "paper": "",
    }  # fmt: skip
    yield facts["id"]
    for name, text in shown.items():
        if text or name in facts["sources"]:
            yield from _wrapped(f"  {name:<11}", text)
            if name in facts["sources"]:
                yield f"  {'':<11}{facts['sources'][name]}"
    special = {"made for": facts["domain"], "writes": facts["writes"], "on this machine": facts["available"]}
    yield from (f"  {name:<16}{text}" for name, text in special.items() if text)


def _config(config: JsonObject) -> str:
    plain = {key: value for key, value in config.items() if isinstance(value, int | str)}
    return ", ".join(f"{key} {value}" for key, value in plain.items())


def in_millions(parameters: int) -> str:
    """A number of weights in words: `22.7 M`, `1.2 B`."""
    return f"{parameters / 1e9:.1f} B" if parameters >= 1e9 else f"{parameters / 1e6:.3g} M"


def _about_data(found: JsonObject) -> Iterator[str]:
    data = found["data"]
    if data is None:
        return
    languages = ", ".join(f"{name} {share:.0%}" for name, share in list(data["languages"].items())[:3])
    tokens = data["tokens"]
    yield (
        f"{found['task']}: {data['rows']:,} training rows; language: {languages or 'not certain'}; "
        f"tokens of a row: {tokens['median']} (median), {tokens['longest']} (longest)"
    )
    machine = found["machine"]
    yield f"machine: {machine['device']}, {machine['threads']} threads, {in_gb(machine['free_bytes'])} free\n"


def _about(cost: JsonObject | None, tell: object) -> str:
    if cost is None or not callable(tell):
        return ""
    return f"{'' if cost['source'] == 'measured' else '~'}{tell(cost)}"


def _probe(probe: JsonObject | None) -> str:
    if probe is None:
        return ""
    return METRICS.get(probe["metric"]).shown(probe["value"])


def _line(cells: Sequence[str], used: Sequence[int], widths: dict[int, int]) -> Iterator[str]:
    """The cells on a line; a name that is too long for it has a line of its own, since it is copied."""
    first = cells[0]
    if len(first) > widths[0]:
        yield first
        first = ""
    rest = [cells[i].ljust(widths[i]) if i in (3, 7) else cells[i].rjust(widths[i]) for i in used[1:]]
    yield "  ".join([first.ljust(widths[0]), *rest]).rstrip()


def _why(model: JsonObject) -> Iterator[str]:
    """The reasons on as few lines as they need, the gravest first."""
    ordered = sorted(model["reasons"], key=lambda reason: _SIDES.index(reason["side"]))
    said = [f"{_MARKS[it['side']]} {it['text']}" for it in ordered]
    if model["cost"] and model["cost"]["source"] != "measured":
        said.append(f"~ from {model['cost']['source']}")
    if probe := model["probe"]:
        metric = METRICS.get(probe["metric"])
        said.append(
            f"· {metric.label} of the probe: {metric.shown(probe['low'])} to {metric.shown(probe['high'])}"
        )
    if said:
        yield from _wrapped("    ", "  ".join(said))


def _wrapped(begin: str, text: str) -> Iterator[str]:
    import textwrap

    lines = textwrap.wrap(text, WIDTH - len(begin)) or [""]
    for number, line in enumerate(lines):
        yield (begin if not number else " " * len(begin)) + line


def _remarks(found: JsonObject, *, with_unfit: bool) -> Iterator[str]:
    models = found["models"]
    yield ""
    if any(it["cost"] for it in models):
        yield "epoch: its training steps, all weights trained. memory: what the training usually takes."
    if any(it["cost"] and it["cost"]["source"] != "measured" for it in models):
        yield "~: estimated from a similar model, since the time for measuring was over (`--seconds`)."
    if any(it["probe"] for it in models):
        yield "probe: a linear head on frozen features, on validation rows that also chose its regularisation."
    if found["not_probed"]:
        yield f"no probe: {found['not_probed']}."
    n_unfit = sum(it["verdict"] == "unfit" for it in models)
    if n_unfit and not with_unfit:
        yield f"{n_unfit} more are unfit, such as models for other languages; `--all` shows why."
    if found["data"] is None:
        yield "With data (`tunesmith models reviews.csv`), times, memory and languages are considered too."

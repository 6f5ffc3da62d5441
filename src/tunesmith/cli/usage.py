"""Errors of the command line itself (an unknown verb, option or value) as our own errors: rule and remedy.

typer prints its own in another form, and not as JSON.
"""

from __future__ import annotations

from typing import Any

import typer

from tunesmith.cli.help import examples_of
from tunesmith.errors import RecipeError, TunesmithError, nearest

USAGE_ERRORS: type[Exception] = typer.BadParameter.__mro__[2]
"""What typer raises for a wrong command line; its name differs between versions."""

_DASHES = "-"


def explained(error: Exception) -> TunesmithError:
    """The error that the user is shown for one of typer's.

    Args:
        error: one of `USAGE_ERRORS`.
    """
    context: Any = getattr(error, "ctx", None)
    verb = "" if context is None or context.parent is None else str(context.info_name)
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        return _unknown_option(str(option), verb, context)
    message = _plain(error)
    if message.startswith("No such command"):
        return _unknown_verb(message, context)
    if type(error).__name__ == "MissingParameter":
        return RecipeError(_missing(error, verb), remedy=_example(context, verb))
    return RecipeError(message, remedy=_see_help(verb))


def _plain(error: Exception) -> str:
    """The message of typer, without what its type conversion adds."""
    text: str = error.format_message() if hasattr(error, "format_message") else str(error)
    return text.replace("'", "`").replace("Value error, ", "")


def _unknown_option(option: str, verb: str, context: Any) -> TunesmithError:
    known = [name for parameter in context.command.params for name in parameter.opts]
    name = option.lstrip(_DASHES)
    rule = f"`{option}` is not supported by `{verb or 'tunesmith'}`."
    if near := nearest(option, known):
        return RecipeError(rule, remedy=f"Did you mean `{near}`?")
    key = _key(name) if any(parameter.name == "settings" for parameter in context.command.params) else ""
    if key:
        return RecipeError(rule, remedy=f"It is a value of the recipe: write `{key}=VALUE`.")
    return RecipeError(rule, remedy=_see_help(verb))


def _key(name: str) -> str:
    """The recipe's key that an option of another tool would set; empty where there is none."""
    from tunesmith.recipe import SYNONYMS, recipe_keys

    spelled = name.lower().replace("-", "_")
    return next(
        (key for key in recipe_keys() if key.rpartition(".")[2] == spelled), SYNONYMS.get(spelled, "")
    )


def _unknown_verb(message: str, context: Any) -> TunesmithError:
    name = message.split("`")[1]
    verbs = list(context.command.commands)
    near = nearest(name, verbs)
    listed = ", ".join(f"`{verb}`" for verb in verbs)
    return RecipeError(
        f"`{name}` is not a verb of tunesmith.",
        remedy=f"Did you mean `{near}`?" if near else f"Verbs: {listed}.",
    )


def _missing(error: Any, verb: str) -> str:
    parameter = error.param
    if parameter is None:
        return _plain(error)
    name = (
        parameter.opts[0]
        if parameter.opts[0].startswith(_DASHES)
        else (parameter.metavar or parameter.name).upper()
    )
    return f"`{verb}` needs {name}: {parameter.help.rstrip('.')}."


def _example(context: Any, verb: str) -> str:
    """The first example of a verb's help."""
    examples = examples_of(context.command) if context is not None else ()
    return f"Example: `{examples[0]}`." if examples else _see_help(verb)


def _see_help(verb: str) -> str:
    return (
        f"`tunesmith {verb} --help` shows what it takes." if verb else "`tunesmith --help` lists the verbs."
    )

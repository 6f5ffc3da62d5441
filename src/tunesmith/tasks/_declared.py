"""Checks of a task's class when it is made, so that a misspelt or forgotten member is an error at import."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from tunesmith.errors import did_you_mean


def refuse_unknown_members(cls: type) -> None:
    """Refuses a public name that no base class declares, by a value or by an annotation.

    Raises:
        TypeError: naming it, and the nearest that is known.
    """
    known = {name for base in cls.__mro__[1:] for name in (*vars(base), *inspect.get_annotations(base))}
    for name in vars(cls):
        if not name.startswith("_") and name not in known:
            public = [other for other in known if not other.startswith("_")]
            raise TypeError(
                f"{_named(cls)}: a task has no member `{name}`. {did_you_mean(name, public)} "
                "A name of the task's own begins with an underscore."
            )


def refuse_wrong_capabilities(cls: type, kinds: Mapping[str, type]) -> None:
    """Refuses a capability that is no object of its class: `windows = True`, `windows = Windows`.

    Raises:
        TypeError: naming it.
    """
    for name, kind in kinds.items():
        value = vars(cls).get(name)
        if value is not None and not isinstance(value, kind):
            raise TypeError(
                f"{_named(cls)}: `{name}` must be a `{kind.__name__}` or None, got `{value!r}`. "
                f"Write `{name} = {kind.__name__}(…)`."
            )


def require_members(cls: type) -> None:
    """Refuses a task that lacks what every task must have.

    Raises:
        TypeError: naming everything that is missing.
    """
    annotated = [name for base in reversed(cls.__mro__) for name in inspect.get_annotations(base)]
    missing = [name for name in dict.fromkeys(annotated) if not hasattr(cls, name)]
    missing += [name for name in dir(cls) if _is_abstract(getattr(cls, name, None))]
    if missing:
        raise TypeError(
            f"{_named(cls)}: a task must define {', '.join(f'`{name}`' for name in missing)}. "
            "A base class of several tasks is written `class Base(Task, abstract=True)`."
        )


def _is_abstract(member: object) -> bool:
    return bool(getattr(member, "__isabstractmethod__", False))


def _named(cls: type) -> str:
    return f"`{cls.__module__}.{cls.__qualname__}`"

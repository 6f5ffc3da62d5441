"""YAML as its users expect it: the core schema of version 1.2 on PyYAML's safe loader.

PyYAML implements YAML 1.1, where `2e-4` is a text, `no` is false, `12:30` is 750 and `010` is 8. The patterns
are from the YAML 1.2.2 specification, section 10.3.2.
"""

from __future__ import annotations

import re

import yaml

MOST_BYTES = 1_000_000
"""Largest recipe that is read; the largest of ours has 4 kB."""


class Loader(yaml.SafeLoader):
    """Builds plain values only: no tag names a Python object, and no alias makes a small file a large tree."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node of the document."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, f"`*{event.anchor}` is an alias; write the value again", event.start_mark
            )
        return super().compose_node(parent, index)


YAML_ERRORS = (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError)
"""What reading a document raises: also for a number of 5,000 digits, and for 1,000 brackets within each other."""


Loader.yaml_implicit_resolvers = {}
_CORE_SCHEMA = (
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("tag:yaml.org,2002:int", r"^[-+]?[0-9]+$", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$",
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:float", r"^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$", "-+."),
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
)


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


def _install_core_schema() -> None:
    for tag, pattern, first in _CORE_SCHEMA:
        Loader.add_implicit_resolver(tag, re.compile(pattern), list(first))
    Loader.add_constructor("tag:yaml.org,2002:int", _decimal)


_install_core_schema()

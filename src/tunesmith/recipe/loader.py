"""YAML as its users expect it: the core schema of version 1.2 on PyYAML's safe loader.

PyYAML implements YAML 1.1, where `2e-4` is a text, `no` is false, `12:30` is 750 and `010` is 8. The patterns
are from the YAML 1.2.2 specification, section 10.3.2.
"""

from __future__ import annotations

import re

import yaml


class Loader(yaml.SafeLoader):
    """Builds plain values only; no tag of a document can name a Python object."""


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

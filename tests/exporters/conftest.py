"""Exports and runs are compared by the way that large models go: their layers packed."""

from __future__ import annotations

import pytest

from tunesmith.models import linear


@pytest.fixture(autouse=True, scope="module")
def _tiny_layers_are_packed():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "_LEAST_WEIGHTS", 1)
        yield

"""Exports and runs are compared by the way that large models go: their layers packed."""

from __future__ import annotations

import pytest

from tunesmith.acceleration import packed_linear


@pytest.fixture(autouse=True, scope="module")
def _tiny_layers_are_packed():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_linear, "_LEAST_WEIGHTS", 1)
        yield

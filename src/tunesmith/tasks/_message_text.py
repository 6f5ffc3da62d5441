"""What a message says, as one text: for people, and to compare answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def message_text(message: Mapping[str, Any]) -> str:
    """The text of a message, and its calls as JSON, one a line.

    Args:
        message: a checked message.
    """
    calls = [json.dumps(call["function"], ensure_ascii=False) for call in message.get("tool_calls") or ()]
    return "\n".join(part for part in (str(message.get("content") or ""), *calls) if part)

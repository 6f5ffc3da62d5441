"""Messages between the front and a worker: JSON behind its length in bytes. Nothing is unpickled."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_LENGTH = struct.Struct("!I")


def pack(message: JsonObject) -> bytes:
    """The bytes of a message."""
    text = json.dumps(message, separators=(",", ":")).encode("ascii")
    return _LENGTH.pack(len(text)) + text


class Frames:
    """Puts the messages of a stream of bytes together again."""

    def __init__(self) -> None:
        self._left = bytearray()

    def feed(self, data: bytes) -> list[JsonObject]:
        """The messages that are whole with these bytes."""
        left, found, at = self._left, [], 0
        left += data
        while len(left) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(left, at)
            end = at + _LENGTH.size + length
            if len(left) < end:
                break
            found.append(json.loads(left[at + _LENGTH.size : end]))
            at = end
        del left[:at]
        return found

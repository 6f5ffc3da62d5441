"""API keys: a file with the hash of each, read again when it changes.

A line is `NAME sha256:HEX`, then limits if there are any: `requests_per_minute=60 tokens_per_minute=100000`. A key
has 256 random bits, so a plain hash cannot be reversed by trying, and no salt is needed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.errors import UserError

_PREFIX = "ts_"
_LIMITS = ("requests_per_minute", "tokens_per_minute")
_CHECK_S = 1.0


@dataclass
class Bucket:
    """What a key has left of a limit; it fills again at an even pace.

    Args:
        per_minute: limit; None for none.
    """

    per_minute: float | None
    left: float = field(init=False)
    _filled: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.left = self.per_minute or 0.0

    def wait_s(self, least: float = 0.0) -> float:
        """Seconds until there is more left than this."""
        if self.per_minute is None:
            return 0.0
        now = time.monotonic()
        self.left = min(self.left + (now - self._filled) * self.per_minute / 60, self.per_minute)
        self._filled = now
        return 0.0 if self.left > least else (least - self.left + 1) * 60 / self.per_minute

    def take(self, amount: float) -> None:
        """Takes from it, which may leave less than nothing."""
        if self.per_minute is not None:
            self.left -= amount


@dataclass
class Key:
    """One key.

    Args:
        name: its name.
        digest: SHA-256 of the key, in hexadecimal.
        limits: limits by their names.
    """

    name: str
    digest: str
    limits: dict[str, float]

    def __post_init__(self) -> None:
        self.requests, self.tokens = (Bucket(self.limits.get(limit)) for limit in _LIMITS)


class Keys:
    """The keys of a file.

    Args:
        file: path of the file.

    Raises:
        UserError: the file cannot be read, or has no key.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._keys = {key.name: key for key in read_keys(file)}
        if not self._keys:
            raise UserError(
                f"`{file}` has no key.",
                remedy=f"Make one: `tunesmith serve --new-key NAME --api-keys {file}`.",
            )
        self._stamp, self._checked = _stamp(file), time.monotonic()

    def find(self, given: str) -> Key | None:
        """The key that a client gave, or None; every key is compared, in constant time."""
        self._refresh()
        digest = hashlib.sha256(given.encode("utf-8", "replace")).hexdigest()
        found = None
        for key in self._keys.values():
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def _refresh(self) -> None:
        """Reads the file again if it has changed; while it cannot be read, the known keys stay."""
        if time.monotonic() - self._checked < _CHECK_S:
            return
        self._checked, stamp = time.monotonic(), _stamp(self.file)
        if stamp == self._stamp or stamp is None:
            return
        try:
            read = read_keys(self.file)
        except UserError:
            return
        known, self._stamp = self._keys, stamp
        self._keys = {key.name: known[key.name] if known.get(key.name) == key else key for key in read}


def read_keys(file: Path) -> list[Key]:
    """The keys of a file.

    Raises:
        UserError: it cannot be read, or a line is wrong.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(
            f"the keys in `{file}` cannot be read: {error.strerror}.",
            remedy=f"Make a key: `tunesmith serve --new-key NAME --api-keys {file}`.",
        ) from None
    found = []
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#"):
            found.append(_key_of(line, f"{file}, line {number}"))
    return found


def _key_of(line: str, location: str) -> Key:
    name, _, rest = line.partition(" ")
    hashed, *limits = rest.split() or [""]
    kind, _, digest = hashed.partition(":")
    pairs = [limit.partition("=") for limit in limits]
    try:
        values = {limit: float(value) for limit, _, value in pairs}
        is_hash = kind == "sha256" and len(bytes.fromhex(digest)) == 32
    except ValueError:
        is_hash, values = False, {}
    if is_hash and set(values) <= set(_LIMITS) and all(value > 0 for value in values.values()):
        return Key(name, digest.lower(), values)
    raise UserError(
        "a line must be a name, `sha256:` with 64 hexadecimal digits, and limits such as "
        "`requests_per_minute=60` or `tokens_per_minute=100000`.",
        remedy="`tunesmith serve --new-key NAME` writes such lines.",
        location=location,
    )


def add_key(file: Path, name: str) -> str:
    """Appends the hash of a new key to a file, which only its owner can read, and returns the key.

    Raises:
        UserError: the name is taken or has white space.
    """
    if not name or any(c.isspace() for c in name) or name.startswith("#"):
        raise UserError(f"the name of a key must be one word, got `{name}`.", remedy="Give another name.")
    if file.is_file() and any(key.name == name for key in read_keys(file)):
        raise UserError(
            f"`{file}` has a key `{name}` already.", remedy="Give another name, or remove its line first."
        )
    key = _PREFIX + secrets.token_urlsafe(32)
    line = f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()}\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    begins = file.read_bytes()[-1:] if file.is_file() else b""
    with os.fdopen(
        os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8"
    ) as out:
        out.write(("" if begins in (b"", b"\n") else "\n") + line)
    return key


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

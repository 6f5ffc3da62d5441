"""Secrets in the names of sources: masked in all output, and filled in only to read.

A password in a URL is before the `@`, or a value of the query. `${NAME}` stands for an environment variable and is
not a secret. If the parts cannot be separated (a password with an `@`, for example), the whole is masked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote

MASK = "***"

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_URL = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"`<>]+")
_SOURCE = re.compile(r"((?:[\w.]+=)?)([A-Za-z][\w+.-]*://.*)", re.DOTALL)
# Up to the last `@`: a password with an `@` that was not escaped must not show its second half. So a port before
# a path with an `@` is masked too, which does no harm.
_PASSWORD = re.compile(r"(?<=://)([^:/@]*):(.*)@", re.DOTALL)
_WEB_TOKEN = re.compile(r"^(https?://)([^/@:]*)@", re.IGNORECASE)
_MASKED = re.compile(r"(//|[:=?&])\*\*\*(@|&|$)")
# Settings of a query that are not secrets; the values of all others are masked.
_HARMLESS = frozenset({
    "mode", "uri", "cache", "timeout", "sslmode", "ssl", "charset", "driver", "encrypt", "application_name",
    "connect_timeout", "download", "format", "raw", "version", "versionid", "revision", "ref", "region",
})  # fmt: skip


def shown_url(url: str) -> str:
    """A URL for the name of a source, without its query; other names are unchanged."""
    scheme, mark, _ = url.partition("://")
    if not mark:
        return url
    head, _, query = url.partition("?")
    if "@" in query:  # a password with a `?`, or a key with an `@`: both may be secrets
        return f"{scheme}://{MASK}"
    return _without_user_secret(head)


def masked_source(source: str) -> str:
    """A source for a recipe or a manifest: whole, without its secrets."""
    scheme, mark, rest = source.partition("://")
    if not mark:
        return source
    address, hash_mark, query = rest.partition("#")
    if "@" not in address and "@" in query and ":" in address and "/" not in address:
        # A password with a `#`.
        before, _, after = rest.rpartition("@")
        host, hash_mark, query = after.partition("#")
        address = f"{before}@{host}"
    return f"{_masked_address(f'{scheme}://{address}')}{hash_mark}{masked_text(query)}"


def masked_text(text: str) -> str:
    """A text with the secrets of every URL masked."""
    return _URL.sub(lambda match: masked_source(match[0]), text) if "://" in text else text


def masked_argument(argument: str) -> str:
    """An argument of a command line: a source, `KEY=SOURCE`, or anything."""
    match = _SOURCE.fullmatch(argument)
    return f"{match[1]}{masked_source(match[2])}" if match else masked_text(argument)


def masked_values(value: object, mask: Callable[[str], str] = masked_source) -> Any:
    """Plain data with every text in it masked."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {key: masked_values(item, mask) for key, item in value.items()}
    return [masked_values(item, mask) for item in value] if isinstance(value, (list, tuple)) else value


def hide_secrets(text: str, url: str) -> str:
    """A message of another library about a URL, with the URL's secrets masked."""
    filled = _VARIABLE.sub(lambda match: os.environ.get(match[1], ""), url)
    secrets = [os.environ.get(name, "") for name in _VARIABLE.findall(url)]
    for address in dict.fromkeys((url, filled)):
        password = _PASSWORD.search(address)
        secrets += [password[2], unquote(password[2])] if password else []
        # A parser that stops at the first `@` takes the rest of the password for a part of the host.
        secrets += [password[2].partition("@")[2]] if password else []
        token = _WEB_TOKEN.match(address)
        secrets += [token[2]] if token else []
        secrets.append(address.partition("?")[2])
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def fill_variables(source: str) -> str:
    """A source with `${NAME}` replaced by the environment variable.

    Raises:
        KeyError: a variable is not set; its argument is the name.
    """
    return _VARIABLE.sub(_value, source)


def filled(source: str, subject: str, error: Callable[..., Exception]) -> str:
    """A source with `${NAME}` replaced by the environment variable.

    Args:
        source: what may contain variables.
        subject: what needs them, as the message begins.
        error: class of the error, which is given the message and the remedy.

    Raises:
        Exception: an `error`: a variable is not set.
    """
    try:
        return fill_variables(source)
    except KeyError as missing:
        name = missing.args[0]
        raise error(
            f"{subject} needs the environment variable {name}, which is not set.",
            remedy=f"Set it: `export {name}=…`.",
        ) from None


def is_masked(source: str) -> bool:
    """Whether a secret of a source was masked by `masked_source`."""
    return "://" in source and bool(_MASKED.search(source.partition("#")[0]))


def has_variables(source: str) -> bool:
    """Whether a source contains `${NAME}`."""
    return bool(_VARIABLE.search(source))


def _value(match: re.Match[str]) -> str:
    value = os.environ[match[1]]
    # A password may contain separators of URLs, so it is quoted; a host with its port, or a whole URL, is not.
    before, after = match.string[match.start() - 1 : match.start()], match.string[match.end() :][:1]
    return quote(value, safe="") if before in (":", "/") and after == "@" else value


def _without_user_secret(address: str) -> str:
    if not has_variables(address):
        return _WEB_TOKEN.sub(rf"\1{MASK}@", _PASSWORD.sub(rf"\1:{MASK}@", address))
    password, token = _PASSWORD.search(address), _WEB_TOKEN.match(address)
    if password and not _VARIABLE.fullmatch(password[2]):
        return _PASSWORD.sub(rf"\1:{MASK}@", address)
    if token and not _VARIABLE.fullmatch(token[2]):
        return _WEB_TOKEN.sub(rf"\1{MASK}@", address)
    return address


def _masked_address(address: str) -> str:
    """A masked URL, given without the part after its `#`."""
    head, mark, query = address.partition("?")
    if "@" in query:
        return shown_url(address)
    return f"{_without_user_secret(head)}{mark}{'&'.join(map(_masked_setting, query.split('&')))}"


def _masked_setting(setting: str) -> str:
    name, equals, value = setting.partition("=")
    if not setting or _VARIABLE.fullmatch(value or name) or (equals and name.lower() in _HARMLESS):
        return setting
    return f"{name}={MASK}" if equals else MASK

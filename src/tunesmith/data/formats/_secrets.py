"""URLs as messages may show them: without passwords, and without queries, which often hold a key."""

from __future__ import annotations

import re
from urllib.parse import unquote

# Up to the last `@`: a password in which one was not escaped must not show its second half. That a port
# before a path with an `@` is taken for a password costs nothing but beauty.
_PASSWORD = re.compile(r"(?<=://)([^:/@]*):(.*)@")
_WEB_TOKEN = re.compile(r"^(https?://)[^/@:]*@")


def shown_url(url: str) -> str:
    """A URL to name a source by; what is no URL stays as it is."""
    scheme, mark, _ = url.partition("://")
    if not mark:
        return url
    head, _, query = url.partition("?")
    if "@" in query:  # a password with a `?`, or a key with an `@`: both may be secrets
        return f"{scheme}://***"
    return _WEB_TOKEN.sub(r"\1***@", _PASSWORD.sub(r"\1:***@", head))


def hide_secrets(text: str, url: str) -> str:
    """What another library said about a URL, with the URL's secrets struck out."""
    password = _PASSWORD.search(url)
    secrets = [password[2], unquote(password[2])] if password else []
    secrets.append(url.partition("?")[2])
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text

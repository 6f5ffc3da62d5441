"""Remote files: any `scheme://path` that fsspec knows (`s3://`, `gs://`, `hf://`, …)."""

from __future__ import annotations

import os
import re
from typing import IO, cast

from tunesmith import masking
from tunesmith.errors import DataError
from tunesmith.masking import hide_secrets, shown_url

_SCHEME = re.compile(r"([A-Za-z][\w+.-]*)://")
_WITHOUT_NETWORK = ("file", "local", "memory")
_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_EXTRAS = {"s3fs": "'tunesmith[s3]'", "gcsfs": "'tunesmith[gs]'", "adlfs": "'tunesmith[azure]'"}
_TRUE = ("1", "ON", "YES", "TRUE")  # the values that huggingface_hub takes as true


def scheme_of(source: str) -> str:
    """`s3` of `s3://bucket/file`; empty if the source is not a URL."""
    match = _SCHEME.match(source)
    return match[1].lower() if match else ""


def is_file_system(scheme: str) -> bool:
    """Whether fsspec knows the scheme, even if the package that it needs is not installed."""
    from fsspec.registry import known_implementations, registry

    return scheme in known_implementations or scheme in registry


def filled(source: str) -> str:
    """A source with `${NAME}` replaced by the environment variable.

    Raises:
        DataError: a variable is not set.
    """
    return masking.filled(source, f"`{shown_url(source)}`", DataError)


def open_url(url: str) -> IO[bytes]:
    """Opens a remote file; `${NAME}` in its address stands for an environment variable.

    Raises:
        DataError: the file does not exist, the package of its scheme is missing, or the network is forbidden.
    """
    import fsspec

    name = shown_url(url)
    _refuse_chain(url)
    _refuse_offline(url)
    try:
        return cast("IO[bytes]", fsspec.open(filled(url), "rb").open())
    except FileNotFoundError:
        raise DataError(f"no such file: `{name}`.", remedy="Fix the address of the data.") from None
    except ImportError as error:
        raise _missing_package(url, error) from None
    except DataError:
        raise
    except Exception as error:  # every file system has its own errors
        raise DataError(
            f"`{name}` cannot be opened: {hide_secrets(str(error) or type(error).__name__, url)}.",
            remedy="Check the address, the network and your credentials.",
        ) from None


def _refuse_chain(url: str) -> None:
    # `reference://` in a chain fills templates from a file, which can run code.
    if "::" in url:
        raise DataError(
            f"`{shown_url(url)}` is a chain of addresses, and data must be one file.",
            remedy="Give the address of the file itself.",
        )


def _refuse_offline(url: str) -> None:
    forbidden = [name for name in _OFFLINE_VARIABLES if os.environ.get(name, "").upper() in _TRUE]
    if forbidden and scheme_of(url) not in _WITHOUT_NETWORK:
        raise DataError(
            f"`{shown_url(url)}` is on the network, which {forbidden[0]} forbids.",
            remedy=f"Unset {forbidden[0]}, or give a local copy.",
        )


def _missing_package(url: str, error: ImportError) -> DataError:
    scheme = scheme_of(url)
    package = getattr(error.__cause__, "name", None) or f"'fsspec[{scheme}]'"
    package = _EXTRAS.get(package, package)
    return DataError(
        f"`{scheme}://` needs a package that is not installed: {error}.", remedy=f"`pip install {package}`"
    )

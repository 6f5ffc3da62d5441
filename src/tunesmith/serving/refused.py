"""Why a request gets no answer: a status, a type that programs read, and a sentence that tells nothing inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

STATUS = {
    "validation": 422, "row": 422, "json": 400, "unauthorized": 401, "forbidden": 403, "not_found": 404,
    "method_not_allowed": 405, "slow": 408, "too_large": 413, "misdirected": 421, "overloaded": 429,
    "rate_limited": 429, "gone": 499, "failed": 500, "unsupported": 400, "unavailable": 503, "timeout": 504,
}  # fmt: skip
"""The status of each type of error."""

_TEI = {"validation": "validation", "row": "validation", "json": "validation", "too_large": "validation",
        "overloaded": "overloaded", "rate_limited": "overloaded", "unavailable": "unhealthy",
        "failed": "backend"}  # fmt: skip
_OPENAI = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


@dataclass(eq=False)
class Refused(Exception):  # noqa: N818 (it is an answer)
    """A request that is refused.

    Args:
        kind: a key of `STATUS`.
        message: the sentence.
        headers: headers of the answer.
    """

    kind: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.kind]

    def as_tei(self) -> dict[str, object]:
        """The body in the shape of text-embeddings-inference; Open Inference Protocol reads `error`, too."""
        return {"error": self.message, "error_type": _TEI.get(self.kind, self.kind)}

    def as_openai(self) -> dict[str, object]:
        """The body in OpenAI's shape."""
        kind = _OPENAI.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": None, "code": self.kind}}

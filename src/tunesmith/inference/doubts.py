"""What people should notice in many answers: how many are not given, and how many texts are out of scope."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tunesmith.metrics import percent

if TYPE_CHECKING:
    from tunesmith.inference.predictor import Predictor
    from tunesmith.types import JsonObject


class Doubts:
    """Counts what is doubtful in lines of predictions while they pass.

    Args:
        predictor: that makes the lines.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.task, self.abstention = predictor.task, predictor.trust.abstention
        self.rows = self.answers = self.withheld = self.out = 0

    def counting(self, lines: Iterable[JsonObject]) -> Iterator[JsonObject]:
        """The same lines, counted."""
        for line in lines:
            if "abstained" in line:
                self._count_answers(line)
            self.rows += "error" not in line
            self.out += bool(line.get("out_of_scope", {}).get("is_out"))
            yield line

    def _count_answers(self, line: JsonObject) -> None:
        withheld = line["abstained"]
        is_list = isinstance(withheld, list)
        self.withheld += len(withheld) if is_list else bool(withheld)
        key = self.task.confidence.key if self.task.confidence is not None else ""
        self.answers += len(line[key]) + len(withheld) if is_list else 1

    def sentences(self) -> list[str]:
        """What was counted, in words; nothing where nothing is doubtful."""
        found = []
        if self.abstention is not None and self.withheld:
            most = percent(self.abstention.max_error)
            given = f"; of the others, at most {most} are wrong, if the texts are like the validation rows"
            found.append(
                f"the model abstains from {self.withheld:,} of {self.answers:,} answers (`abstained`)"
                f"{given if self.withheld < self.answers else ''}"
            )
        if self.out:
            found.append(
                f"{self.out:,} of {self.rows:,} texts are unlike the training texts (`out_of_scope`): do not rely "
                "on their answers"
            )
        return found

"""What is wrong with conversations and pairs of replies: turns, endings, refusals, contradictions.

- Turns: a role twice in a row, an assistant that begins, a last turn that nobody answers, turns without a word.
- Answers that were cut: prose that stops within a sentence, while the other answers of the data end theirs.
  Lists, code and short answers need no full stop. Answers that are cut pile up among the longest: then a limit
  of length cut them, and the finding is a warning.
- Tools: calls of tools that are not offered, or whose arguments do not fit; results without a call, and calls
  without a result. Of pairs, the prompt and the chosen reply are read: a reply may be rejected for its call.
- Refusals: an answer that begins with a known phrase (English, German, French, Spanish, Italian, Portuguese,
  Dutch).
- Contradictions: one prompt with several answers; for pairs, a reply that is chosen in one row and rejected in
  another.

Turns that are empty or have an unknown role cannot be read at all, and `invalid_rows` lists them. Copies are
found by `duplicates` and `leakage`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.checks import Check, CheckedData, Finding, FoundRow
from tunesmith.checks._tool_calls import tool_findings
from tunesmith.data.splits import normalised
from tunesmith.tasks._message_text import message_text

if TYPE_CHECKING:
    import regex

    from tunesmith.data.examples import Examples

Message = Mapping[str, Any]

_FEWEST_SENTENCES = 2
_FEWEST_WORDS = 4
_LONGEST_SHARE, _FEWEST_LONG = 0.1, 2
_LEVEL = 0.01
_REFUSALS = re.compile(
    r"(i['’]?m|i am)( really| very| truly)? (sorry|afraid)[,;.]? *(but |that )?(i|as an|this)\b"
    r"|sorry, (but )?(i|as an)\b"
    r"|i apologi[sz]e, but (i|as an)\b"
    r"|(unfortunately, )?i(['’]m| am) (unable|not able) to\b"
    r"|(unfortunately, )?i (can['’]?t|cannot|can not|won['’]?t) "
    r"(assist|help|provide|fulfil|comply|answer|do that|create)"
    r"|as an ai( language model| model| assistant)?,? i(['’]m| am)? ?"
    r"(not|unable|do not|don['’]t|can['’]?t|cannot|have no)\b"
    r"|es tut mir leid, (aber )?(ich|als)\b|ich kann (dir|ihnen|dabei) (leider )?nicht\b|als ki\b"
    r"|je suis désolée?,? mais\b|désolée?,? mais je\b|en tant qu['’](ia|intelligence artificielle)\b"
    r"|lo siento, pero\b|como (modelo de lenguaje|una? ia)\b|mi dispiace, ma\b|sinto muito, mas\b"
    r"|het spijt me, maar\b",
    re.IGNORECASE,
)


def _find(data: CheckedData) -> Iterable[Finding]:
    if data.task.chat is None:
        return
    answers = {}
    for split, examples in data.splits.items():
        if "chosen" in examples.columns:
            answers[split] = [last_said(said) for said in examples.columns["chosen"]]
            yield from _of_pairs(split, examples, answers[split])
        elif "messages" in examples.columns:
            answers[split] = [last_said(messages) for messages in examples.columns["messages"]]
            yield from _of_messages(split, examples, answers[split])
    yield from _cut([(split, row) for split, said in answers.items() for row in range(len(said))], answers)


def _of_messages(split: str, examples: Examples, answers: Sequence[str]) -> Iterator[Finding]:
    rows: Sequence[Sequence[Message]] = examples.columns["messages"]
    yield from _turns(split, rows, needs_reply=True)
    yield from tool_findings(split, rows, _tools(examples))
    yield from _refusing(split, answers, "answers")
    yield from _several_answers(split, [prompt_of(messages) for messages in rows], answers)


def _of_pairs(split: str, examples: Examples, chosen: Sequence[str]) -> Iterator[Finding]:
    columns = examples.columns
    yield from _turns(split, columns["prompt"], needs_reply=False)
    whole = [[*prompt, *said] for prompt, said in zip(columns["prompt"], columns["chosen"], strict=True)]
    yield from tool_findings(split, whole, _tools(examples))
    rejected = [last_said(said) for said in columns["rejected"]]
    yield from _refusing(split, chosen, "chosen replies")
    prompts = ["\n".join(map(_line, messages)) for messages in columns["prompt"]]
    yield from _contradicting_pairs(split, prompts, chosen, rejected)


def _tools(examples: Examples) -> Sequence[Any]:
    return examples.columns.get("tools") or [None] * len(examples)


def last_said(messages: Sequence[Message]) -> str:
    """The last message of the assistant, with its calls as JSON; empty without one.

    Args:
        messages: a conversation.
    """
    said = [message for message in messages if message["role"] == "assistant"]
    return message_text(said[-1]) if said else ""


def prompt_of(messages: Sequence[Message]) -> str:
    """All that is said before the last message of the assistant.

    Args:
        messages: a conversation.
    """
    last = max(
        (i for i, message in enumerate(messages) if message["role"] == "assistant"), default=len(messages)
    )
    return "\n".join(map(_line, messages[:last]))


def _line(message: Message) -> str:
    return f"{message['role']}: {normalised(message_text(message))}"


def _turns(split: str, rows: Sequence[Sequence[Message]], *, needs_reply: bool) -> Iterator[Finding]:
    """Problems of the turns, one finding a kind."""
    kinds: dict[str, list[int]] = {}
    for row, messages in enumerate(rows):
        for problem in turn_problems(messages, needs_reply=needs_reply):
            kinds.setdefault(problem, []).append(row)
    for problem, where in kinds.items():
        yield Finding(
            "conversations",
            "warn",
            f"{len(where):,} of {len(rows):,} {split} conversations have {problem}",
            "Correct the turns, or remove the rows: a model learns the order of turns as it is.",
            [FoundRow(split, row) for row in where],
            {"split": split, "problem": problem, "rows": len(where)},
        )


def turn_problems(messages: Sequence[Message], *, needs_reply: bool) -> list[str]:
    """What is wrong with the turns of a conversation.

    Args:
        messages: a conversation.
        needs_reply: whether the last turn must be the assistant's.
    """
    spoken = [message for message in messages if message["role"] != "system"]
    roles = [message["role"] for message in spoken]
    pairs = list(pairwise(roles))
    problems = {
        "two turns of the user side by side": ("user", "user") in pairs,
        "two turns of the assistant side by side": ("assistant", "assistant") in pairs,
        "an assistant that begins": roles[:1] == ["assistant"],
        "a last turn that nobody answers": needs_reply and roles[-1:] != ["assistant"],
        "a turn without a word": any(not _has_a_word(message) for message in spoken),
    }
    return [problem for problem, is_there in problems.items() if is_there]


def _has_a_word(message: Message) -> bool:
    if message.get("tool_calls"):
        return True
    return _pattern(r"[\p{L}\p{N}\p{S}]").search(str(message.get("content") or "")) is not None


@cache
def _pattern(pattern: str) -> regex.Pattern:
    import regex

    return regex.compile(pattern, regex.V1)


_END = r"(?:\p{Sentence_Terminal}|[:…]|[\p{S}\p{Emoji_Presentation}])[\p{P}\p{S}\s\uFE0F]*$"
# A mark of Latin texts ends a sentence before a space only (`3.5`, `e.g.`); those of other scripts always do.
_ENDED = r"[.!?…][\p{Pe}\p{Pf}\"']*(?:\s|$)|(?![.!?…])\p{Sentence_Terminal}"
_OPEN = r"[,;(\[{–—]\s*$"
_LIST_ITEM = r"^\s*(?:[-*•+#>|]|\(?\d+[.):]|\(?\p{L}[.)]\s)"


def is_cut(answer: str) -> bool:
    """Whether an answer stops within a sentence.

    Args:
        answer: an answer.
    """
    text = answer.rstrip()
    if not text:
        return False
    if text.count("```") % 2:
        return True
    last_line = text.rsplit("\n", 1)[-1]
    item = _pattern(_LIST_ITEM).match(last_line)
    # An item of a list needs no full stop, unless it has one within.
    is_prose = len(last_line.split()) >= _FEWEST_WORDS and (
        item is None or _pattern(_ENDED).search(last_line, item.end()) is not None
    )
    if not is_prose or len(_pattern(_ENDED).findall(text)) < _FEWEST_SENTENCES:
        return False
    if _pattern(_OPEN).search(text):
        return True
    return _pattern(r"\p{L}$").search(text) is not None and not _pattern(_END).search(text)


def _cut(places: Sequence[tuple[str, int]], answers: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Answers of all splits that stop within a sentence."""
    said = [answers[split][row] for split, row in places]
    cut = [number for number, answer in enumerate(said) if is_cut(answer)]
    if not cut:
        return
    lengths = np.array([len(answer) for answer in said])
    among_longest, p = _pile_up(lengths, cut)
    is_limit = p <= _LEVEL and among_longest >= _FEWEST_LONG
    why = f"; {among_longest} of them are among the longest tenth: a limit of length has probably cut them"
    order = sorted(cut, key=lambda number: (-int(lengths[number]), number))
    yield Finding(
        "conversations",
        "warn" if is_limit else "note",
        f"{len(cut):,} of {len(said):,} answers stop within a sentence{why if is_limit else ''}",
        "Complete or remove them: a model learns to stop there.",
        [FoundRow(*places[it], float(lengths[it]), f"… {said[it].rstrip()[-60:]}") for it in order],
        {"cut": len(cut), "among_longest": among_longest, "p": p},
    )


def _pile_up(lengths: NDArray[np.int64], cut: Sequence[int]) -> tuple[int, float]:
    """How many of some rows are among the longest tenth, and the p-value of Fisher's test that this is chance."""
    from scipy.stats import fisher_exact

    is_long = np.zeros(len(lengths), dtype=bool)
    is_long[np.argsort(-lengths, kind="stable")[: max(1, round(_LONGEST_SHARE * len(lengths)))]] = True
    is_cut_row = np.zeros(len(lengths), dtype=bool)
    is_cut_row[list(cut)] = True
    table = [
        [int((is_cut_row & is_long).sum()), int((is_cut_row & ~is_long).sum())],
        [int((~is_cut_row & is_long).sum()), int((~is_cut_row & ~is_long).sum())],
    ]
    return table[0][0], float(fisher_exact(table, alternative="greater").pvalue)


def refuses(answer: str) -> bool:
    """Whether an answer begins like a refusal.

    Args:
        answer: an answer.
    """
    return _REFUSALS.match(answer.strip()) is not None


def _refusing(split: str, answers: Sequence[str], what: str) -> Iterator[Finding]:
    found = [row for row, answer in enumerate(answers) if refuses(answer)]
    if found:
        yield Finding(
            "conversations",
            "note",
            f"{len(found):,} of {len(answers):,} {split} {what} refuse",
            "Keep them if the model shall refuse such requests; else remove them.",
            [FoundRow(split, row, note=answers[row].strip()[:80]) for row in found],
            {"split": split, "refusals": len(found)},
        )


def _several_answers(split: str, prompts: Sequence[str], answers: Sequence[str]) -> Iterator[Finding]:
    said = [normalised(answer) for answer in answers]
    rows = _differing(prompts, said)
    if rows:
        n = len({prompts[row] for row in rows})
        yield Finding(
            "conversations",
            "warn",
            f"{n:,} {'prompt has' if n == 1 else 'prompts have'} several different answers in {split} "
            f"({len(rows):,} rows)",
            "Keep the best answer of each prompt, unless all are wanted.",
            [FoundRow(split, row) for row in rows],
            {"split": split, "prompts": n, "rows": len(rows)},
        )


def _differing(prompts: Sequence[str], answers: Sequence[str]) -> list[int]:
    """The rows whose prompt has several answers, those of one prompt side by side."""
    by_prompt = _grouped(range(len(prompts)), lambda row: prompts[row])
    several = (rows for rows in by_prompt.values() if len({answers[row] for row in rows}) > 1)
    return [row for rows in several for row in rows]


def _grouped(rows: Iterable[int], key: Callable[[int], str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _contradicting_pairs(
    split: str, prompts: Sequence[str], chosen: Sequence[str], rejected: Sequence[str]
) -> Iterator[Finding]:
    """Replies that one row prefers and another rejects, after the same prompt."""
    best = {
        (prompt, normalised(said)): row
        for row, (prompt, said) in enumerate(zip(prompts, chosen, strict=True))
    }
    found = []
    for row, (prompt, said) in enumerate(zip(prompts, rejected, strict=True)):
        other = best.get((prompt, normalised(said)))
        if other is not None:
            found += [FoundRow(split, row, note="rejected here"), FoundRow(split, other, note="chosen here")]
    if found:
        yield Finding(
            "conversations",
            "warn",
            f"{len(found) // 2:,} replies are rejected in one {split} row and chosen in another, after one prompt",
            "Decide which of the rows is right, and remove the other.",
            found,
            {"split": split, "contradictions": len(found) // 2},
        )


check = Check("turns, endings, refusals and contradictions of conversations", _find)

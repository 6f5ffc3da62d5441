"""The spans of transformers' pipeline for entities: how its call is written, how they differ from ours, and why.

The code for the same spans has the rules of `segmentation.py`, `_units.py` and `_tags.py` in a few lines. A test
compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_SPANS = """
The scores are those of `tunesmith predict`, which takes the most probable valid sequence of tags.
The pipeline takes the best tag of each word alone. The code below finds the spans of `tunesmith predict`.
"""

_SPANS_BY_SPACES = """
The tokenizer of this model does not mark the tokens that begin a word, so the pipeline treats everything between
two spaces as one word. Its spans differ from those of `tunesmith predict` in these cases:

- A sign touches a name (`Paris,`): the pipeline adds it to the name. `tunesmith predict` separates words at signs.
- A script has no spaces: for the pipeline, a whole clause is one word. For `tunesmith predict`, each character is.
- The tokenizer makes several tokens of one character, or a token of the space before a word: the pipeline reads a
  tag from each of them. If these tags differ, its spans are empty or cut the character. `tunesmith predict` reads
  the first token of the word.
- A token includes the space before its word: the spans of the pipeline begin at the space.
"""

_CODE = r'''
import numpy as np
import regex  # transformers needs it, too
from transformers import TokenClassificationPipeline, pipeline

SCRIPTS = "Han Hiragana Katakana Bopomofo Yi Thai Lao Khmer Myanmar Tai_Le New_Tai_Lue Tai_Tham Tai_Viet"
UNSPACED = "".join(rf"\p{{Script={it}}}" for it in f"{SCRIPTS} Javanese Balinese".split()) + "\u30fc\uff70"
LETTERS = rf"[[\p{{L}}\p{{N}}]--[{UNSPACED}\p{{Hangul}}]]"
MARKS = r"(?:\p{M}|[\u200c\u200d](?=[\p{L}\p{N}\p{M}]))+"
WORD = regex.compile(rf"{LETTERS}+(?:{MARKS}{LETTERS}*)*|(?!\s)\X", regex.V1)


class Entities(TokenClassificationPipeline):
    def postprocess(self, windows, **_):
        text, tokens = windows[0]["sentence"], self.tokens(windows)
        words = self.words(text, [token for _, token in sorted(tokens.items()) if token[1] < token[2]])
        names, found = [self.model.config.id2label[i] for i in range(self.model.config.num_labels)], []
        tags = best_tags(np.array([logits for _, _, logits in words]), names) if words else []
        for (start, end, _), tag in zip(words, tags):
            if names[tag].startswith("I-"):
                found[-1]["end"] = end
            elif names[tag] != "O":
                found.append({"entity_group": names[tag][2:], "start": start, "end": end})
        return [{**entity, "word": text[entity["start"] : entity["end"]]} for entity in found]

    def tokens(self, windows):
        """Each token from the window in which it is furthest from an edge: room, start, end, logits."""
        tokens, at = {}, 0
        for window in windows:
            places, usual = window["offset_mapping"][0].tolist(), 1 - window["special_tokens_mask"][0]
            for number, i in enumerate(usual.nonzero()[:, 0].tolist(), at):
                room = min(i, len(places) - 1 - i)
                if number not in tokens or room > tokens[number][0]:
                    tokens[number] = (room, *places[i], window["logits"][0][i].float().numpy())
            at += int(usual.sum()) - self.tokenizer.model_max_length // 4
        return tokens

    def words(self, text, tokens):
        """Start, end and logits of each word, by its first token; words of one token are one."""
        starts = np.minimum.accumulate([token[1] for token in tokens][::-1])[::-1]
        ends, words, before = np.maximum.accumulate([token[2] for token in tokens]), [], -1
        for word in WORD.finditer(text):
            first, last = np.searchsorted(ends, word.start(), "right"), np.searchsorted(starts, word.end()) - 1
            if first <= last:
                token = min(last, max(first, before + 1))
                start = words.pop()[0] if token == before else word.start()
                words.append((start, word.end(), tokens[token][3]))
                before = token
        return words


def best_tags(logits, names):
    """The most probable tags in which I-X follows only B-X or I-X."""
    shifted = logits - logits.max(-1, keepdims=True)
    scores = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    follows = [[not b.startswith("I-") or a[2:] == b[2:] for b in names] for a in ["O", *names]]
    costs = np.where(follows, 0.0, -np.inf)
    best, back = scores[0] + costs[0], []
    for row in scores[1:]:
        through = best[:, None] + costs[1:]
        back.append(through.argmax(0))
        best = through.max(0) + row
    tags = [int(best.argmax())]
    for choices in reversed(back):
        tags.insert(0, int(choices[tags[0]]))
    return tags


folder = "PATH/TO/THIS/FOLDER"
model = pipeline("token-classification", model=folder, pipeline_class=Entities, aggregation_strategy="first")
answer = model("a text", stride=model.tokenizer.model_max_length // 4)
'''

_SAME_SPANS = f"""
<details><summary>The same spans as <code>tunesmith predict</code>, with transformers alone</summary>

```python
{_CODE.strip()}
```

It reads long texts in windows that share a quarter of their tokens, as `tunesmith predict` does by default.

</details>
"""


def pipeline_arguments(max_length: int) -> str:
    """A long text is read in windows that share a quarter, as we read it."""
    return f'aggregation_strategy="first", stride={max_length // 4}'


def pipeline_note(tokenizer: JsonObject) -> str:
    """How the spans that the pipeline finds can differ from ours, and code that finds ours.

    Args:
        tokenizer: content of tokenizer.json.
    """
    marks_words = bool(tokenizer["model"].get("continuing_subword_prefix"))
    return _SPANS + ("" if marks_words else _SPANS_BY_SPACES) + _SAME_SPANS

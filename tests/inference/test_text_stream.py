"""Streams give their text in parts that are never taken back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.inference.text_stream import TextStream
from tunesmith.testing.tiny import _byte_tokenizer

TOKENIZER = _byte_tokenizer()


def parts_of(text, **how):
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    stream = TextStream(TOKENIZER, **how)
    parts = []
    for n in range(1, len(ids) + 1):
        parts.append(stream.feed(ids[:n], is_end=n == len(ids)))
        if stream.is_stopped:
            break
    return parts, stream


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_parts_are_the_whole(text):
    parts, stream = parts_of(text)
    whole = TOKENIZER.decode(TOKENIZER(text, add_special_tokens=False)["input_ids"], skip_special_tokens=True)
    assert "".join(parts) == stream.text == whole


@given(
    st.text("ab é🙂", min_size=1, max_size=30), st.lists(st.text("ab 🙂", min_size=1, max_size=4), max_size=1)
)
def test_nothing_of_a_stop_sequence_or_after_it_is_given(text, stops):
    parts, stream = parts_of(text, stops=stops)
    ends = [text.find(stop) for stop in stops if stop in text]
    assert "".join(parts) == stream.text == (text[: min(ends)] if ends else text)
    assert stream.is_stopped == bool(ends)


def test_a_part_of_a_character_waits_for_the_rest():
    parts, _ = parts_of("a🙂b")
    assert all("\ufffd" not in part for part in parts)
    assert parts.count("") >= 3


@pytest.mark.parametrize("text", [" the cat ", "\n\nthe  cat\n", "the cat"])
def test_white_space_at_the_ends_is_left_out(text):
    parts, stream = parts_of(text, strip=True)
    assert "".join(parts) == stream.text == text.strip()

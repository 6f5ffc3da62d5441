"""Messages arrive as they were sent, however the bytes are cut."""

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.serving.wire import Frames, pack

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=5),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_messages_arrive(messages, cuts):
    data, frames, found = b"".join(map(pack, messages)), Frames(), []
    at = 0
    while at < len(data):
        size = cuts[at % len(cuts)]
        found += frames.feed(data[at : at + size])
        at += size
    assert found == messages


def test_a_lone_surrogate_arrives():
    assert Frames().feed(pack({"text": "\ud800 é"})) == [{"text": "\ud800 é"}]

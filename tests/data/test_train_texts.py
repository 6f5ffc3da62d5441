import numpy as np

from tunesmith.data.examples import Examples
from tunesmith.data.near_copies import text_hashes
from tunesmith.data.splits import text_keys
from tunesmith.data.train_texts import read_train_texts, write_train_texts


def rows(texts, **more):
    n = len(texts)
    return Examples(
        {"text": texts, **more}, ("x.csv",), np.zeros(n, np.int32), np.arange(n), inputs=("text", *more)
    )


def test_equal_texts_have_equal_hashes_and_no_others():
    hashes = text_hashes(rows(["Ａ cat", "a  CAT ", "a dog", ""]))
    assert hashes[0] == hashes[1]
    assert len(set(hashes.tolist())) == 3


def test_hashes_are_the_beginning_of_the_keys_even_if_they_end_with_zeros():
    """numpy drops the zeros at the end of bytes when single ones are read."""
    texts = rows([f"text {i}" for i in range(3000)])
    keys = text_keys(texts).tobytes()
    expected = [int.from_bytes(keys[i : i + 8], "little") for i in range(0, len(keys), 16)]
    assert text_hashes(texts).tolist() == expected
    assert any(value < 2**56 for value in expected)


def test_both_texts_of_a_pair_count():
    one, other = (text_hashes(rows(["a"], text_pair=[text])) for text in ("b", "c"))
    assert one[0] != other[0]


def test_the_file_holds_each_text_once_and_none_in_words(tmp_path):
    write_train_texts(tmp_path, rows(["secret", "secret", "other"]))
    found = read_train_texts(tmp_path)
    assert len(found.exact) == len(found.texts) == 2
    assert b"secret" not in (tmp_path / "train_texts.npz").read_bytes()
    assert found.seen(rows(["SECRET", "new", "other"])).tolist() == [1, 0, 1]
    assert read_train_texts(tmp_path / "missing") is None


def test_a_run_of_an_earlier_version_knows_the_same_texts_only(tmp_path):
    np.save(tmp_path / "train_texts.npy", np.unique(text_hashes(rows(["secret", "other"]))))
    found = read_train_texts(tmp_path)
    assert found.seen(rows(["secret ", "secrets", "OTHER"])).tolist() == [1, 0, 1]

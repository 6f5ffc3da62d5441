from tunesmith.encoded import Encoded
from tunesmith.inference.extraction import GIVEN_TOKENS, WRITTEN_TOKENS, parts_to_write
from tunesmith.tasks import IGNORED


def labels(encoded, sequence):
    return encoded.ragged["labels"][sequence].tolist()


def test_the_second_half_of_the_last_piece_must_be_written():
    ids = list(range(100, 130))
    learned = [IGNORED] * 5 + ids[5:9] + [IGNORED] * 3 + ids[12:28] + [IGNORED] * 2
    found = parts_to_write(Encoded.of({"input_ids": [ids, ids[:4]], "labels": [learned, ids[:4]]}), 0)
    assert len(found) == 1  # the other one is too short
    assert found.ragged["input_ids"][0].tolist() == ids[:28]
    assert labels(found, 0) == [IGNORED] * 20 + ids[20:28]


def test_long_texts_are_given_and_asked_in_part():
    ids = list(range(2000))
    found = parts_to_write(Encoded.of({"input_ids": [ids], "labels": [ids]}), 0)
    assert found.ragged["input_ids"][0].tolist() == ids[1000 - GIVEN_TOKENS : 1000 + WRITTEN_TOKENS]
    assert labels(found, 0) == [IGNORED] * GIVEN_TOKENS + ids[1000 : 1000 + WRITTEN_TOKENS]


def test_nothing_is_asked_where_all_is_too_short():
    assert parts_to_write(Encoded.of({"input_ids": [[1, 2, 3]], "labels": [[1, 2, 3]]}), 0) is None

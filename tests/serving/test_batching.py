"""Batches: the oldest first, those of its length with it, up to a number of padded tokens."""

import time

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.serving.batching import Item, Job, choose, padded


def item(length, kind="a", sequences=1):
    job = Job(1, {"deadline": time.monotonic() + 9}, 1)
    return Item(job, 0, None, 0, length, sequences, length * sequences, (kind,))


def test_all_that_fits_is_one_batch():
    assert choose([item(5), item(90), item(7)], 1000) == [0, 1, 2]


def test_the_oldest_is_there_with_those_of_its_length():
    waiting = [item(50), item(3), item(48), item(4), item(52), item(500)]
    assert sorted(choose(waiting, 160)) == [0, 2, 4]


def test_a_row_that_is_too_long_is_a_batch_of_its_own():
    assert choose([item(900), item(5)], 100) == [0]
    assert choose([item(300, sequences=4)], 100) == [0]


def test_only_rows_of_one_kind_share_a_batch():
    assert choose([item(5), item(5, kind="b"), item(5)], 100) == [0, 2]


@given(
    st.lists(
        st.tuples(st.integers(1, 600), st.sampled_from("ab"), st.integers(1, 3)), min_size=1, max_size=60
    )
)
def test_everything_is_answered_and_no_batch_is_too_large(rows):
    waiting, most = [item(*row) for row in rows], 512
    rounds = 0
    while waiting:
        chosen = choose(waiting, most)
        batch = [waiting[i] for i in chosen]
        assert 0 in chosen
        assert len(set(chosen)) == len(chosen)
        assert len({one.kind for one in batch}) == 1
        assert len(batch) == 1 or padded(batch) <= most
        waiting = [one for i, one in enumerate(waiting) if i not in chosen]
        rounds += 1
    assert rounds <= len(rows)


def test_a_job_is_due_until_its_deadline_or_its_end():
    job = Job(1, {"deadline": 10.0}, 2)
    assert job.is_due(9.9)
    assert not job.is_due(10.0)
    job.is_over = True
    assert not job.is_due(0.0)

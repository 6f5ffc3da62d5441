from tunesmith.evaluation.gap import find_gap


def metrics(value, n=200, split="test", name="accuracy", half=0.05):
    score = {"value": value, "low": value - half, "high": value + half}
    return {"primary": {"name": name, "split": split, "n": n, **score}, "splits": {split: {name: score}}}


def gap(value, validation, *, n_validation=200, **rest):
    history = [{"step": 5, "accuracy": 0.1}, {"step": 10, "accuracy": validation}]
    return find_gap(metrics(value, **rest), history, 10, n_validation)


def test_a_gap_beyond_the_intervals_comes_with_advice():
    found = gap(0.7, 0.85)
    assert (found["metric"], found["validation"], found["test"]) == ("accuracy", 0.85, 0.7)
    assert "85.0 % on validation and 70.0 % on test: a difference of 15.0 points" in found["text"]
    assert "data.group_by" in found["text"]
    assert "check where they come from" in gap(0.85, 0.7)["text"]


def test_what_chance_explains_is_no_gap():
    assert gap(0.75, 0.80) is None
    assert gap(0.75, 0.80 + 0.04, n_validation=31) is None  # few validation rows vary more
    assert gap(0.75, 0.84, n_validation=100_000) is not None


def test_a_few_rows_or_no_test_rows_have_no_gap():
    assert gap(0.2, 0.9, n=29) is None
    assert gap(0.2, 0.9, n_validation=29) is None
    assert gap(0.2, 0.9, split="validation") is None
    assert find_gap(metrics(0.2), [], 0, 200) is None


def test_a_loss_is_worse_when_it_is_larger():
    found = find_gap(metrics(2.0, name="loss"), [{"step": 3, "loss": 1.0}], 3, 200)
    assert "data.group_by" in found["text"]
    assert "1.000 on validation and 2.000 on test" in found["text"]


def test_a_shift_that_was_found_is_the_reason_that_is_given():
    shift = "the test texts are unlike the training texts"
    history = [{"step": 10, "accuracy": 0.85}]
    found = find_gap(metrics(0.7), history, 10, 200, [shift])
    assert shift in found["text"]
    assert found["shifts"] == [shift]
    assert "related to training rows" not in found["text"]
    assert find_gap(metrics(0.84), history, 10, 200, [shift]) is None  # no gap, nothing to explain

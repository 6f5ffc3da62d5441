import pytest

from tunesmith.data.columns import choose_columns
from tunesmith.errors import DataError
from tunesmith.tasks import TASKS

TASK = TASKS.get("text-classification")


def choose(sample, named=None, **how):
    return choose_columns(TASK, sample, named or {}, location="a.csv", **how)


def sample(**columns):
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


TEXTS = [
    "a bike with a flat tyre",
    "the parcel did not come",
    "which size do I need",
    "the brakes squeal a lot",
]


def test_usual_names_win_and_the_most_usual_first():
    rows = sample(label_fine=["a", "b"] * 2, label=["x", "y"] * 2, text=TEXTS, content=TEXTS)
    assert choose(rows) == {"text": "text", "label": "label"}
    assert choose(sample(text=TEXTS, category=["x", "y"] * 2)) == {"text": "text", "label": "category"}


def test_names_are_compared_without_case():
    assert choose(sample(Text=TEXTS, Label=["x", "y"] * 2)) == {"text": "Text", "label": "Label"}


def test_a_pair_is_recognised():
    rows = sample(sentence1=TEXTS, sentence2=TEXTS, label=["x", "y"] * 2)
    assert choose(rows) == {"text": "sentence1", "text_pair": "sentence2", "label": "label"}


def test_by_kind_where_no_name_is_usual():
    assert choose(sample(was=TEXTS, art=["x", "y"] * 2)) == {"text": "was", "label": "art"}


def test_a_text_without_blanks_is_a_text():
    rows = sample(eins=["今天天气很好", "昨天下雨了"] * 4, zwei=["a", "b"] * 4)
    assert choose(rows) == {"text": "eins", "label": "zwei"}


def test_the_recipe_wins():
    rows = sample(text=TEXTS, other=TEXTS, label=["x", "y"] * 2)
    assert choose(rows, {"text": "other"})["text"] == "other"


def test_two_candidates_are_no_guess():
    with pytest.raises(DataError, match=r"`text`, and 2 columns could be it: `eins`, `zwei`"):
        choose(sample(eins=TEXTS, zwei=TEXTS, label=["x", "y"] * 2))


def test_none_found_lists_what_there_is():
    with pytest.raises(DataError, match=r"`label`, and no column looks like it(.|\n)*--column label=COLUMN"):
        choose(sample(text=TEXTS, id=["1", "2", "3", "4"]))


def test_wrong_names_are_refused():
    with pytest.raises(DataError, match=r"no column `txt`(.|\n)*Did you mean `text`"):
        choose(sample(text=TEXTS), {"text": "txt"})
    with pytest.raises(DataError, match=r"has no column `texts`"):
        choose(sample(text=TEXTS), {"texts": "text"})


def test_targets_are_not_needed_to_predict():
    assert choose(sample(text=TEXTS), need_targets=False) == {"text": "text"}

"""Which task a file is for: by its columns, or a question where two tasks fit."""

import pytest

from tunesmith.data.guessing import columns_of_roles, guess_task
from tunesmith.errors import DataError
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import write_rows

N = 40
OFFSETS = {"text": ["John"], "answer_start": [0]}


def said(i):
    return f"this is the text number {i} of some {i * 7} words"


CLEAR = {
    "text-classification": [
        lambda i: {"text": said(i), "label": "ab"[i % 2]},
        lambda i: {"review": said(i), "stars": i % 5 + 1},
        lambda i: {"nachricht": said(i), "absicht": ("lob", "kritik")[i % 2]},
        lambda i: {"id": f"m{i}", "text": said(i), "label": "ab"[i % 2], "source": "mail", "split": "train"},
        lambda i: {"title": said(i)[:20], "body": said(i), "category": "xyz"[i % 3]},
        lambda i: {"premise": said(i), "hypothesis": said(i + 1), "label": i % 3},
        lambda i: {"text": said(i), "target": ("pos", "neg")[i % 2]},
        lambda i: {"text": said(i), "label": "Home, garden" if i % 2 else "Toys"},
    ],
    "multi-label-classification": [
        lambda i: {"text": said(i), "labels": ("a;b", "a", "b;c", "c")[i % 4]},
        lambda i: {"text": said(i), "label": ("a, b", "a", "b, c", "c")[i % 4]},
        lambda i: {"text": said(i), "labels": (["a", "b"], ["a"], [])[i % 3]},
        lambda i: {"text": said(i), "spam": i % 2, "urgent": int(i % 3 == 0)},
    ],
    "text-regression": [
        lambda i: {"text": said(i), "toxicity": i / 37},
        lambda i: {"text": said(i), "label": i / 7},
        lambda i: {"text": said(i), "score": i},
    ],
    "text-similarity": [
        lambda i: {"sentence1": said(i), "sentence2": said(i + 1), "score": i / 7},
        lambda i: {"anchor": said(i), "positive": said(i + 1), "negative": said(i + 2)},
    ],
    "token-classification": [
        lambda i: {"tokens": ["John", "lives", "here"], "tags": ["B-PER", "O", "O"]},
        lambda i: {"text": "John lives here", "entities": [{"start": 0, "end": 4, "label": "PER"}]},
        lambda i: {"text": "John lives here", "label": [[0, 4, "PER"]]},
    ],
    "question-answering": [
        lambda i: {"question": "Who lives here?", "context": "John lives here", "answers": OFFSETS}
    ],
    "summarization": [
        lambda i: {"article": said(i) * 5, "highlights": said(i)},
        lambda i: {"text": said(i) * 5, "summary": said(i)},
    ],
    "translation": [lambda i: {"en": said(i), "de": said(i)}],
    "text2text-generation": [lambda i: {"word": f"wo{i}", "phonemes": f"w o {i}"}],
    "chat": [
        lambda i: {
            "messages": [{"role": "user", "content": said(i)}, {"role": "assistant", "content": "Yes."}]
        },
        lambda i: {"instruction": said(i), "input": "", "output": said(i)},
        lambda i: {"prompt": said(i), "completion": said(i)},
        lambda i: {"question": said(i), "answer": said(i + 5)},
    ],
    "preference": [lambda i: {"prompt": said(i), "chosen": said(i), "rejected": "no"}],
}
CASES = [(task, make) for task, makes in CLEAR.items() for make in makes]


def file_of(folder, make, n=N):
    return str(write_rows(folder / "data.jsonl", [make(i) for i in range(n)]))


@pytest.mark.parametrize(("task", "make"), CASES, ids=[f"{task}-{i}" for i, (task, _) in enumerate(CASES)])
def test_the_columns_say_which_task_it_is(tmp_path, task, make):
    guess = guess_task([file_of(tmp_path, make)])
    assert guess.task == task
    assert guess.why.startswith(f"task: `{task}`, guessed from ")


UNCLEAR = [
    ({"fill-mask", "text-generation"}, lambda i: {"text": said(i)}),
    ({"text2text-generation", "translation"}, lambda i: {"source": said(i), "target": said(i + 3)}),
    ({"text2text-generation", "translation"}, lambda i: {"input": said(i), "output": said(i + 3)}),
    (
        {"text-classification", "token-classification"},
        lambda i: {"text": "John lives here", "intent": "ab"[i % 2], "entities": [[0, 4, "PER"]]},
    ),
]


@pytest.mark.parametrize(("tasks", "make"), UNCLEAR)
def test_where_several_fit_equally_the_user_is_asked(tmp_path, tasks, make):
    with pytest.raises(DataError, match="several tasks fit the columns equally well") as caught:
        guess_task([file_of(tmp_path, make)])
    assert {line.split("`")[1] for line in caught.value.rule.splitlines()[1:]} == tasks
    assert "--task" in caught.value.remedy


def test_a_named_label_decides(tmp_path):
    file = file_of(tmp_path, UNCLEAR[3][1])
    assert guess_task([file], label="intent").task == "text-classification"
    assert guess_task([file], label="entities").task == "token-classification"
    assert guess_task([file], {"label": "intent"}).task == "text-classification"


def test_no_task_is_guessed_from_columns_that_none_reads(tmp_path):
    with pytest.raises(DataError, match="no task recognises the columns: `a`, `b`"):
        guess_task([file_of(tmp_path, lambda i: {"a": i, "b": i})])


def test_a_column_that_is_not_there_is_named_before_anything_is_guessed(tmp_path):
    file = file_of(tmp_path, CASES[0][1])
    with pytest.raises(DataError, match="there is no column `lable`"):
        guess_task([file], label="lable")
    with pytest.raises(DataError, match="no task has a column `texte`"):
        guess_task([file], {"texte": "text"})


def test_a_file_without_a_usable_row_is_left_to_its_reader(tmp_path):
    (tmp_path / "head.csv").write_text("text,label\n")
    assert guess_task([str(tmp_path / "head.csv")]) is None


def test_label_and_text_are_columns_of_any_task(tmp_path):
    file = [file_of(tmp_path, lambda i: {"words": ["John", "lives"], "ner": ["B-PER", "O"]})]
    assert columns_of_roles(TASKS.get("text-regression"), [], {}, label="a", text="b") == {
        "score": "a",
        "text": "b",
    }
    assert columns_of_roles(TASKS.get("summarization"), [], {}, label="a", text="b") == {
        "summary": "a",
        "document": "b",
    }
    assert columns_of_roles(TASKS.get("token-classification"), file, {}, label="ner") == {"tags": "ner"}
    with pytest.raises(DataError, match="one label is not enough for `preference`"):
        columns_of_roles(TASKS.get("preference"), [], {}, label="a")
    with pytest.raises(DataError, match="one text is not enough for `question-answering`"):
        columns_of_roles(TASKS.get("question-answering"), [], {}, text="a")


def test_every_alias_belongs_to_one_task():
    entries, _ = TASKS.loadable()
    aliases = [alias for task in entries.values() for alias in task.aliases]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(entries)


def test_a_task_with_the_right_names_is_mentioned_where_the_values_are_another_ones(tmp_path):
    """Few whole numbers are labels, and a column `score` may be meant as a quantity all the same."""
    guess = guess_task([file_of(tmp_path, lambda i: {"text": said(i), "score": i % 5})])
    assert guess.task == "text-classification"
    assert "`text-regression` can read it, too (`--task`)" in guess.why

import pytest

from tunesmith.errors import RecipeError
from tunesmith.recipe import SYNONYMS, RecipeDraft, recipe_keys


def validated(text, tmp_path, *overrides):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    draft = RecipeDraft.read(file)
    for override in overrides:
        draft.override(override)
    return draft, draft.validate()


def refusal(text, tmp_path, *overrides):
    with pytest.raises(RecipeError) as caught:
        validated(text, tmp_path, *overrides)
    return str(caught.value)


def test_numbers_are_read_as_people_write_them(tmp_path):
    _, recipe = validated("data: {train: a.csv}\nlr: 2e-4\nseed: 010\n", tmp_path)
    assert recipe.train.learning_rate == 2e-4
    assert recipe.seed == 10


def test_words_of_yaml_1_1_stay_words(tmp_path):
    text = "data: {train: a.csv, columns: {text: no, label: on}}\n"
    assert validated(text, tmp_path)[1].data.columns == {"text": "no", "label": "on"}


def test_unknown_key_has_line_and_suggestion(tmp_path):
    message = refusal("data: {train: a.csv}\ntrain:\n  learning_rte: 1e-4\n", tmp_path)
    assert "recipe.yaml, line 3: `train.learning_rte` is not a key of the recipe." in message
    assert "Did you mean `train.learning_rate`?" in message


def test_wrong_value_has_rule_value_and_line(tmp_path):
    message = refusal("data: {train: a.csv}\ntrain:\n  warmup_steps: -3\n", tmp_path)
    assert "recipe.yaml, line 3: train.warmup_steps must be a number at least 0" in message
    assert "got -3" in message


def test_all_faults_are_named_at_once(tmp_path):
    message = refusal("data: {}\nseed: x\ntrain: {method: 3}\n", tmp_path)
    assert "3 values of the recipe are wrong" in message


def test_a_key_in_the_wrong_section_is_shown_its_place(tmp_path):
    assert "Did you mean `data.group_by`?" in refusal("data: {train: a}\ngroup_by: x\n", tmp_path)


def test_a_key_twice_is_refused(tmp_path):
    assert "line 2: `seed` occurs twice" in refusal("seed: 1\nseed: 2\ndata: {train: a}\n", tmp_path)


def test_not_yaml_not_a_mapping_not_a_file(tmp_path):
    assert "line 2: not YAML" in refusal("data: {train: a\n]", tmp_path)
    assert "must be a mapping" in refusal("- a\n", tmp_path)
    with pytest.raises(RecipeError, match="is a folder"):
        RecipeDraft.read(tmp_path)


def test_names_from_other_tools_are_understood_and_told(tmp_path):
    draft, recipe = validated(
        "base_model: b\ntrain_file: a.csv\nepochs: 2\ntrain: {batch_size: 8}\n", tmp_path
    )
    assert (recipe.model, recipe.data.train, recipe.train.num_train_epochs) == ("b", ["a.csv"], 2)
    assert recipe.train.per_device_train_batch_size == 8
    assert any("line 3: `epochs` is called `train.num_train_epochs` here" in n for n in draft.notices)


def test_synonym_and_its_name_together_are_refused(tmp_path):
    text = "data: {train: a}\nlr: 1e-4\ntrain: {learning_rate: 1e-3}\n"
    assert "the same setting, and both are given" in refusal(text, tmp_path)


def test_every_synonym_names_a_key():
    assert set(SYNONYMS.values()) <= set(recipe_keys())


def test_override_wins_and_must_be_an_assignment(tmp_path):
    text = "data: {train: a.csv}\ntrain: {learning_rate: 1e-3}\n"
    _, recipe = validated(text, tmp_path, "train.learning_rate=1e-4", "lr=2e-5", "data.test=0.2")
    assert (recipe.train.learning_rate, recipe.data.test) == (2e-5, 0.2)
    assert "must be `section.key=value`" in refusal(text, tmp_path, "lr")
    assert "`data.train`: `data` is not a section" not in refusal(text, tmp_path, "seed.x=1")


def test_two_batch_sizes_exclude_each_other(tmp_path):
    text = "data: {train: a}\ntrain: {per_device_train_batch_size: 3, tokens_per_batch: 4}\n"
    assert "exclude each other" in refusal(text, tmp_path)


def test_data_files_lie_beside_the_recipe(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    draft = RecipeDraft(tree={"data": {"train": "a.csv", "test": 0.1, "validation": ["a.csv", "hub:x/y"]}})
    draft.resolve_paths(tmp_path)
    assert draft.tree["data"] == {
        "train": str(tmp_path / "a.csv"),
        "test": 0.1,
        "validation": [str(tmp_path / "a.csv"), "hub:x/y"],
    }


SAME = [
    ("train_on_inputs: false", "all"),
    ("roles_to_train: [assistant]", "all"),
    ("roles_to_train: gpt", "all"),
    ("train_on_eos: turn", "all"),
    ("train_on_prompt: false", "all"),
    ("mask_history: true", "last"),
    ("mask_history: false", "all"),
    ("assistant_only_loss: true", "all"),
    ("train_on_responses_only: true", "all"),
]


@pytest.mark.parametrize(("line", "train_on"), SAME)
@pytest.mark.parametrize("section", ["", "data", "train"])
def test_keys_of_other_tools_that_say_which_turns_are_learned(line, train_on, section, tmp_path):
    text = "data:\n  train: a.jsonl\n"
    if section == "data":
        text += f"  {line}\n"
    else:
        text += f"train:\n  {line}\n" if section else f"{line}\n"
    draft, recipe = validated(text, tmp_path)
    assert recipe.data.train_on == train_on
    (notice,) = draft.notices
    assert line.partition(":")[0] in notice
    assert "is always so here" in notice or f"`data.train_on: {train_on}` here" in notice


@pytest.mark.parametrize(
    "line",
    [
        "train_on_inputs: true",
        "roles_to_train: [assistant, user]",
        "roles_to_train: []",
        "train_on_eos: last",
        "train_on_prompt: true",
        "mask_history: 1",
        "assistant_only_loss: false",
        "completion_only_loss: true",
        "completion_only_loss: false",
    ],
)
def test_what_would_be_learned_elsewhere_and_not_here_is_refused(line, tmp_path):
    message = refusal(f"data: {{train: a.jsonl}}\n{line}\n", tmp_path)
    assert f"line 2: `{line}`" in message
    assert "only turns of the assistant are learned" in message
    assert "task: text-generation" in message


def test_turns_that_are_learned_may_not_be_chosen_twice(tmp_path):
    both = "data: {train: a.jsonl, train_on: all}\nmask_history: true\n"
    message = refusal(both, tmp_path)
    assert "`mask_history: true` and `data.train_on: all` contradict each other" in message
    text = "data: {train: a.jsonl}\ntrain_on_prompt: false\n"
    assert validated(text, tmp_path, "mask_history=true")[1].data.train_on == "last"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: &x [1]\ndata: *x\n", "`*x` is an alias"),
        ("a: &a [z]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", "is an alias"),
        ("x: " + "[" * 3000, "not YAML"),
        (f"seed: {'9' * 5000}\n", "not YAML"),
        ("data: !!python/object:os.system {}\n", "not YAML"),
        ("x" * 1_000_001, "at most 1,000,000 bytes"),
    ],
)
def test_a_recipe_that_was_made_to_do_harm_is_refused_readably(tmp_path, content, said):
    file = tmp_path / "recipe.yaml"
    file.write_text(content)
    with pytest.raises(RecipeError) as caught:
        RecipeDraft.read(file)
    assert said in str(caught.value)

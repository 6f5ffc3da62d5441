"""A recipe before validation: YAML and arguments become one plain tree, then a validated `Recipe`.

The file and line of every key are kept, so that a message can name them. Keys of other tools (`SYNONYMS`)
are accepted, and a notice gives the name used here. An unknown key is an error with a suggestion; it is
never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import yaml
from pydantic import ValidationError

from tunesmith.errors import RecipeError, nearest
from tunesmith.recipe.expectations import choices, expectation
from tunesmith.recipe.keys import recipe_keys, yaml_value
from tunesmith.recipe.loader import MOST_BYTES, YAML_ERRORS, Loader
from tunesmith.recipe.schema import METHOD_ALIASES, Recipe
from tunesmith.recipe.translations import ALWAYS, TRAIN_ON, TRANSLATIONS, Translation, translated

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from tunesmith.types import JsonObject

SYNONYMS: dict[str, str] = {
    "base_model": "model",
    "model_name": "model",
    "model_name_or_path": "model",
    "output": "output_dir",
    "train_file": "data.train",
    "datasets": "data.train",
    "dataset": "data.train",
    "validation_file": "data.validation",
    "test_file": "data.test",
    "val_set_size": "data.validation",
    "validation_split": "data.validation",
    "max_seq_length": "data.max_length",
    "max_seq_len": "data.max_length",
    "sequence_len": "data.max_length",
    "model_max_length": "data.max_length",
    "cutoff_len": "data.max_length",
    "epochs": "train.num_train_epochs",
    "num_epochs": "train.num_train_epochs",
    "lr": "train.learning_rate",
    "batch_size": "train.per_device_train_batch_size",
    "micro_batch_size": "train.per_device_train_batch_size",
    "train_batch_size": "train.per_device_train_batch_size",
    "gradient_accumulation": "train.gradient_accumulation_steps",
    "warmup_ratio": "train.warmup_steps",
    "lr_scheduler": "train.lr_scheduler_type",
    "scheduler": "train.lr_scheduler_type",
    "max_norm": "train.max_grad_norm",
    "gradient_clipping": "train.max_grad_norm",
    "add_tokens": "train.add_tokens",
    "model.add_tokens": "train.add_tokens",
    "lora_rank": "train.lora_r",
    "lora_target": "train.lora_target_modules",
    "peft_use_dora": "train.use_dora",
    "beta": "train.dpo_beta",
    "pref_beta": "train.dpo_beta",
    "doc_stride": "data.overlap_tokens",
    "sample_packing": "data.packing",
    "template": "data.chat_template",
    "max_target_length": "generate.max_new_tokens",
    "label_smoothing": "train.label_smoothing_factor",
    "patience": "train.early_stopping_patience",
    "random_seed": "seed",
}
_SHOWN_CHARACTERS = 100

_ALL_KEYS = "`docs/recipe.md` lists every key and its values."


@dataclass
class RecipeDraft:
    """A recipe before validation: a plain tree, where each key was written, and what was renamed."""

    tree: JsonObject = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> RecipeDraft:
        """The draft in a YAML file.

        Raises:
            RecipeError: the file is missing, not YAML, or not a mapping; or a key occurs twice.
        """
        if not path.is_file():
            raise RecipeError(
                f"a recipe must be a YAML file, `{path}` is {'a folder' if path.is_dir() else 'missing'}.",
                remedy="`tunesmith init FILE` writes a recipe for a data file.",
            )
        if path.stat().st_size > MOST_BYTES:
            raise RecipeError(
                f"a recipe must have at most {MOST_BYTES:,} bytes, and `{path}` has {path.stat().st_size:,}.",
                remedy="Give a recipe; data files are named in it.",
            )
        draft = cls()
        try:
            node = yaml.compose(path.read_text(encoding="utf-8"), Loader=Loader)
            if isinstance(node, yaml.MappingNode):
                draft.tree = cast("JsonObject", draft._build(node, "", path))
                return draft
        except YAML_ERRORS as error:
            raise _not_yaml(error, path) from None
        raise RecipeError(
            "a recipe must be a mapping of keys to values.",
            location=str(path),
            remedy="`tunesmith init FILE` writes one to start from.",
        )

    def _build(self, node: yaml.Node, prefix: str, path: Path) -> object:
        loader = Loader("")
        if not isinstance(node, yaml.MappingNode):
            return loader.construct_object(node, deep=True)
        if node.tag != loader.DEFAULT_MAPPING_TAG:
            raise yaml.constructor.ConstructorError(
                None, None, f"`{node.tag}` is no tag that a recipe may have", node.start_mark
            )
        tree: JsonObject = {}
        for key_node, value_node in node.value:
            key = str(loader.construct_object(key_node))
            location = f"{path}, line {key_node.start_mark.line + 1}"
            if key in tree:
                raise RecipeError(
                    f"`{prefix}{key}` occurs twice.", location=location, remedy="Keep one of them."
                )
            self.places[prefix + key] = location
            tree[key] = self._build(value_node, f"{prefix}{key}.", path)
        return tree

    @staticmethod
    def copy_tree(tree: Mapping[str, object]) -> JsonObject:
        """A plain tree that can be changed without changing the caller's."""
        return {k: RecipeDraft.copy_tree(v) if isinstance(v, Mapping) else v for k, v in tree.items()}

    def override(self, assignment: str) -> None:
        """Applies one `section.key=value` of the command line.

        Raises:
            RecipeError: it has no `=`, or its value is not YAML.
        """
        key, equals, text = assignment.partition("=")
        location = f"argument `{assignment}`"
        if not equals or not key.strip():
            raise RecipeError(
                "a trailing argument must be `section.key=value`.",
                location=location,
                remedy="Example: `train.learning_rate=1e-4`.",
            )
        try:
            value = yaml.load(text, Loader=Loader) if text else None
        except YAML_ERRORS:
            raise RecipeError("the value is not YAML.", location=location, remedy="Quote it.") from None
        self.set(SYNONYMS.get(key.strip(), key.strip()), value, location)

    def override_all(self, overrides: Mapping[str, object] | Sequence[str]) -> None:
        """Applies `{"section.key": value}`, or assignments as on the command line.

        Raises:
            RecipeError: an override is refused by `override` or `set`.
        """
        if isinstance(overrides, Mapping):
            for key, value in overrides.items():
                self.set(key, value, f"override {key}")
        else:
            for assignment in overrides:
                self.override(assignment)

    def set(self, dotted: str, value: object, location: str) -> None:
        """Puts one value at a dotted key; a later call wins over an earlier one."""
        *parents, last = dotted.split(".")
        branch = self.tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
            if not isinstance(branch, dict):
                raise RecipeError(
                    f"`{dotted}`: `{parent}` is not a section.", location=location, remedy="Fix the key."
                )
        branch[last] = value
        self.places[dotted] = location

    def resolve_paths(self, base: Path) -> None:
        """Makes the paths of data files relative to the recipe's folder, if they exist there."""
        data = self.tree.get("data")
        if isinstance(data, dict):
            files = {split: data[split] for split in ("train", "validation", "test") if split in data}
            data.update({split: _relative_to(base, value) for split, value in files.items()})

    def validate(self) -> Recipe:
        """The finished recipe.

        Raises:
            RecipeError: a key is unknown or missing, or a value is wrong; all problems are named at once.
        """
        self._rename_synonyms()
        self._translate()
        self._rename_method()
        try:
            return Recipe.model_validate(self.tree)
        except ValidationError as error:
            raise self._explain(error) from None

    def _rename_synonyms(self) -> None:
        for dotted in _leaves(self.tree):
            short = dotted.rpartition(".")[2]
            today = SYNONYMS.get(short)
            if today is None or dotted == today or dotted in recipe_keys():
                continue
            location = self.places.get(dotted, "")
            if _lookup(self.tree, today) is not None:
                raise RecipeError(
                    f"`{dotted}` and `{today}` are the same setting, and both are given.",
                    location=location,
                    remedy=f"Keep `{today}`.",
                )
            self.rename(dotted, today, location)
            self.set(today, _pop(self.tree, dotted), location)

    def _translate(self) -> None:
        """Keys of other tools that say which turns are learned become `data.train_on`, or nothing.

        Raises:
            RecipeError: one asks for what is not done here, or contradicts another.
        """
        for dotted in _leaves(self.tree):
            name, location = dotted.rpartition(".")[2], self.places.get(dotted, "")
            if name not in TRANSLATIONS:
                continue
            value = _pop(self.tree, dotted)
            said = f"{dotted}: {yaml_value(value)}"
            meant = translated(name, value)
            if not meant:
                raise _refused_translation(said, TRANSLATIONS[name], location)
            if meant == ALWAYS:
                self.notices.append(f"{location + ': ' if location else ''}`{said}` is always so here")
            else:
                self._choose_turns(meant, said, location)

    def _choose_turns(self, meant: str, said: str, location: str) -> None:
        """Sets `data.train_on`, which may be given already."""
        before = _lookup(self.tree, TRAIN_ON)
        if before not in (None, meant):
            raise RecipeError(
                f"`{said}` and `{TRAIN_ON}: {before}` contradict each other.",
                location=location,
                remedy=f"Keep `{TRAIN_ON}`.",
            )
        self.rename(said, f"{TRAIN_ON}: {meant}", location)
        self.set(TRAIN_ON, meant, location)

    def _rename_method(self) -> None:
        """Gives `train.method` the name that it has here."""
        asked = _lookup(self.tree, "train.method")
        today = METHOD_ALIASES.get(asked.lower().replace("_", "-")) if isinstance(asked, str) else None
        if today is not None:
            location = self.places.get("train.method", "")
            self.rename(str(asked), today, location)
            self.set("train.method", today, location)

    def rename(self, name: str, today: str, location: str) -> None:
        """Notes that something is called otherwise here."""
        self.notices.append(f"{location + ': ' if location else ''}`{name}` is called `{today}` here")

    def get(self, dotted: str) -> object:
        """The value at a dotted key; None where there is none."""
        return _lookup(self.tree, dotted)

    def _explain(self, error: ValidationError) -> RecipeError:
        """The error for the user: every problem with its line and what to do about it."""
        found: dict[str, tuple[str, str]] = {}
        for problem in error.errors():
            key = _dotted(problem["loc"])
            found.setdefault(self._fault(problem), (self._place(key), self._remedy(problem)))
        if len(found) == 1:
            [(fault, (location, remedy))] = found.items()
            return RecipeError(fault, location=location, remedy=remedy or _ALL_KEYS)
        listed = "\n".join(
            f"  - {f'{location}: ' if location else ''}{fault}{f' {remedy}' if remedy else ''}"
            for fault, (location, remedy) in sorted(found.items(), key=lambda one: _line(one[1][0]))
        )
        return RecipeError(f"{len(found)} values of the recipe are wrong:\n{listed}", remedy=_ALL_KEYS)

    def _fault(self, problem: ErrorDetails) -> str:
        key = _dotted(problem["loc"])
        if problem["type"] == "extra_forbidden":
            return f"`{key}` is not a key of the recipe."
        if problem["type"] == "missing":
            return f"`{key}` must be given."
        if problem["type"] == "value_error":
            return f"{key}: {problem['ctx']['error']}."
        expected = expectation(key) or str(problem["msg"])
        got = yaml_value(_lookup(self.tree, key))
        return (
            f"{key} must be {expected}, got {got[:_SHOWN_CHARACTERS]}{'…' * (len(got) > _SHOWN_CHARACTERS)}."
        )

    def _remedy(self, problem: ErrorDetails) -> str:
        """What to write instead; empty where nothing is near."""
        key = _dotted(problem["loc"])
        if problem["type"] == "extra_forbidden":
            return _suggestion(key)
        near = nearest(str(_lookup(self.tree, key)), choices(key))
        return f"Did you mean `{near}`?" if near else ""

    def _place(self, key: str) -> str:
        while key and key not in self.places:
            key = key.rpartition(".")[0]
        return self.places.get(key, "")


def _refused_translation(said: str, key: Translation, location: str) -> RecipeError:
    return RecipeError(
        f"`{said}` ({key.tool}) {key.others}; here, only turns of the assistant are learned.",
        location=location,
        remedy=f"Leave it out. `{TRAIN_ON}: last` learns the last turn of the assistant alone; "
        "`task: text-generation` learns every word of a text.",
    )


def _line(location: str) -> int:
    """The line of a location, for the order of problems; those of arguments come first."""
    number = location.rpartition(", line ")[2]
    return int(number) if number.isdigit() else 0


def _relative_to(base: Path, value: object) -> object:
    if isinstance(value, list):
        return [_relative_to(base, item) for item in value]
    if not isinstance(value, str) or "://" in value:
        return value
    # `FILE#PART` names a part of a file, or a query for it.
    is_there = any((base / path).exists() for path in (value, value.partition("#")[0]) if path)
    return str(base / value) if is_there else value


def _leaves(tree: Mapping[str, object], prefix: str = "") -> list[str]:
    found = []
    for key, value in tree.items():
        if isinstance(value, dict) and prefix + key not in ("data.columns", "train.augment", "tune.space"):
            found += _leaves(value, f"{prefix}{key}.")
        else:
            found.append(prefix + key)
    return found


def _lookup(tree: object, dotted: str) -> object:
    for part in dotted.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return None
        tree = tree[part]
    return tree


def _pop(tree: JsonObject, dotted: str) -> object:
    *parents, last = dotted.split(".")
    for parent in parents:
        tree = tree[parent]
    return tree.pop(last)


def _dotted(loc: Sequence[str | int]) -> str:
    """The recipe's key in a pydantic location, which may continue into a branch of a union or a list."""
    known = recipe_keys()
    key = ""
    for part in loc:
        longer = f"{key}.{part}" if key else str(part)
        if key in known:
            break
        key = longer
    return key


def _suggestion(key: str) -> str:
    """The key that was meant: of that name in another section, or nearly of that name in this one."""
    section, _, name = key.rpartition(".")
    keys = recipe_keys()
    elsewhere = [known for known in keys if known.rpartition(".")[2] == name]
    siblings = [known for known in keys if known.rpartition(".")[0] == section]
    theirs = nearest(name, SYNONYMS)
    meant = elsewhere[0] if elsewhere else nearest(key, siblings or keys) or SYNONYMS.get(theirs, "")
    return f"Did you mean `{meant}`?" if meant else ""


def _not_yaml(error: Exception, path: Path) -> RecipeError:
    mark = getattr(error, "problem_mark", None)
    location = f"{path}, line {mark.line + 1}" if mark else str(path)
    problem = getattr(error, "problem", None) or str(error)
    return RecipeError(f"not YAML: {problem}.", location=location, remedy="Fix the syntax of the file.")

"""What the analyses of a finished training read: its rows as the saved model answers them, each computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.effects import not_for_task
from tunesmith.evaluation.analyses import Answered
from tunesmith.evaluation.neighbours import TrainingVectors
from tunesmith.evaluation.scoring import Scored
from tunesmith.evaluation.seen import take_rows
from tunesmith.inference.answering import score
from tunesmith.inference.embedder import head_outputs
from tunesmith.inference.pair_likelihood import pair_likelihoods
from tunesmith.inference.predictor import Predictor
from tunesmith.models.loading import LoadedModel
from tunesmith.pipeline.harm import harm, training_texts
from tunesmith.pipeline.head_of import head_of
from tunesmith.pipeline.predict_split import predict_split, reading
from tunesmith.pipeline.previous import previous_task
from tunesmith.pipeline.save import SavedModel
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.pipeline.writing import base_texts, general_text
from tunesmith.tasks import EvalPredictions, Prediction, Task
from tunesmith.training.probe import Features, take_features

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tunesmith.data.examples import Examples
    from tunesmith.data.sentence_pairs import SentencePair
    from tunesmith.encoded import Encoded
    from tunesmith.events import Events
    from tunesmith.types import JsonObject, Model, Tokenizer

MOST_TRAINING_ROWS = 5_000
"""Training rows that are answered again, drawn by the seed; each costs a forward pass."""


class SavedAnswers:
    """The rows of a training as its saved model answers them, and what its head reads.

    Args:
        work: what is to be done.
        plan: data and sequences.
        saved: the model as it was saved.
        model: the saved model, loaded.
    """

    def __init__(self, work: Work, plan: TrainingPlan, saved: SavedModel, model: Model) -> None:
        self.work, self.plan, self.saved, self.model = work, plan, saved, model
        self._head = head_of(work.task, model)
        self._features: dict[str, Features] = {}
        self._scored: dict[str, Scored] = {}
        self._counting = {"validation": saved.validation_rows}
        self._training: TrainingVectors | None = None

    def rows(self, split: str) -> NDArray[np.int64]:
        """The numbers of the rows of a split that are answered: all of them, or a sample of the training rows."""
        n = len(self.plan.data.splits[split])
        if split != "train" or n <= MOST_TRAINING_ROWS:
            return np.arange(n)
        rng = np.random.default_rng(self.plan.recipe.seed)
        return np.sort(rng.choice(n, MOST_TRAINING_ROWS, replace=False))

    def features(self, split: str) -> NDArray[np.float32] | None:
        """The inputs of the head [rows, d]; None where a row has no vector of its own.

        Args:
            split: `train`, `validation`, or `final`; of the last two, the rows that count.
        """
        split = self.plan.final_split if split == "final" else split
        found, rows = self._all_features(split), self._counting.get(split)
        return found if found is None or rows is None else found[rows]

    def every_vector(self, split: str) -> NDArray[np.float32] | None:
        """As `features`, of every row of `validation` or the final split."""
        return self._all_features(split)

    def _all_features(self, split: str) -> NDArray[np.float32] | None:
        """The features of a split, of its rows that are answered."""
        if not self.has_row_vectors or split not in self.plan.data.splits:
            return None
        if split not in self._features:
            self._features[split] = self._take(split)
        return np.asarray(self._features[split])

    @property
    def has_row_vectors(self) -> bool:
        """Whether there is a linear head, which reads one vector a row."""
        return self._head is not None

    def scored(self, split: str) -> Scored | None:
        """The rows of `train` as the saved model answers them, or those of `validation` that count.

        None for training rows that were packed, or whose masks are drawn anew each time.
        """
        task = self.work.task
        is_other = split == "train" and (task.packing is not None or task.masking is not None)
        if is_other or split not in self.plan.data.splits:
            return None
        if split not in self._scored:
            self._scored[split] = self._score(split)
        return self._scored[split]

    def know(self, final: Scored, rows: NDArray[np.int64]) -> None:
        """Takes the rows that count as they are answered already.

        Args:
            final: rows of the final split that count.
            rows: numbers of these rows in the split.
        """
        self._scored[self.plan.final_split], self._counting[self.plan.final_split] = final, rows

    def answered(self, metrics: JsonObject) -> Answered:
        """What analyses read.

        Args:
            metrics: what metrics.json has already.
        """
        final = self._scored[self.plan.final_split]
        recipe = self.plan.recipe
        return Answered(
            final,
            recipe.evaluate,
            recipe.seed,
            self.work.run,
            self.scored,
            self.features,
            metrics,
            self.training,
            lambda: base_texts(self.work, self._counting[self.plan.final_split]),
            lambda: general_text(self.work, self.plan, self.model),
            lambda: training_texts(self.work, self.plan),
            lambda: harm(self.work, self.plan, self.model),
            lambda: previous_task(self.work, self.model, self.plan.data.splits["train"], recipe.seed),
            likelihoods_of(self.work.task, self.model, self.plan.tokenizer, self.work.events),
            self._answer,
        )

    def _answer(self, rows: list[JsonObject]) -> list[Prediction]:
        """The saved model's answers to other rows."""
        loaded = LoadedModel(self.model, self.plan.tokenizer, head_is_new=False)
        predictor = Predictor(self.work.task, loaded)
        predictor.label_schema = self.saved.label_schema
        return predictor.predict_rows(rows)

    def training(self) -> TrainingVectors | None:
        """The training rows with the inputs of the head; a part of them is kept in the run for `evaluate`."""
        if self._training is None and (vectors := self.features("train")) is not None:
            examples = self._examples("train")
            gold = self.work.task.gold(examples.columns, self.saved.label_schema)
            self._training = TrainingVectors.of(vectors, examples, gold)
            self._training.save(self.work.run.data)
        return self._training

    def _sequences(self, split: str) -> Encoded:
        """The sequences of the rows, of training rows without their noisy copies."""
        return self.plan.splits[split].of_rows(self.rows(split))

    def _take(self, split: str) -> Features:
        if (known := self.saved.fitted.features.get(split)) is not None:
            return known
        if split == "train":
            return self._read(split, self._sequences(split))
        with reading(self.work, self.plan, split, self.model) as encoded:
            return self._read(split, encoded)

    def _read(self, split: str, encoded: Encoded) -> Features:
        assert self._head is not None, "only where there is a head"
        return take_features(
            self.work.task,
            self.model,
            encoded,
            head=self._head,
            pad_token_id=self.plan.tokenizer.pad_token_id,
            bf16=False,
            location=self.plan.encoded.location(split),
            advance=self.work.events.progress(f"{split} texts"),
        )

    def predict(self, split: str, *, with_texts: bool = True) -> EvalPredictions:
        """The rows of a split that are answered, and what the saved model makes of them."""
        features = self._all_features(split)
        outputs = None
        if self._head is not None and features is not None:
            outputs = head_outputs(self._head, features)
        elif split != "train":
            return predict_split(self.work, self.plan, split, model=self.model, with_texts=with_texts)
        return score(
            self.work.task,
            self.model,
            self.plan.tokenizer,
            self._examples(split).columns,
            self._sequences(split),
            outputs=outputs,
            advance=self.work.events.progress(f"{split} texts"),
        )

    def _score(self, split: str) -> Scored:
        evaluated = self.predict(split, with_texts=False)
        group_by = self.plan.recipe.data.group_by
        scored = Scored(self.work.task, self.saved.label_schema, self._examples(split), evaluated, group_by)
        return take_rows(scored, self._counting[split]) if split in self._counting else scored

    def _examples(self, split: str) -> Examples:
        return self.plan.data.splits[split].take(self.rows(split))


def likelihoods_of(
    task: Task, model: Model, tokenizer: Tokenizer, events: Events
) -> Callable[[Sequence[SentencePair]], NDArray[np.float64]] | None:
    """What scores pairs of sentences with a model; None for one that is no language model."""
    if "evaluate.stereotypes" in not_for_task(task):
        return None
    return lambda pairs: pair_likelihoods(
        model, tokenizer, pairs, masked=task.masking is not None, advance=events.progress("sentence pairs")
    )

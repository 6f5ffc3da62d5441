"""A head fitted on frozen features: where training starts, and a baseline to compare it with."""

from __future__ import annotations

from tunesmith.evaluation.baselines import own_scores
from tunesmith.session import Session
from tunesmith.tasks import EvalPredictions
from tunesmith.training.loop import Settings
from tunesmith.training.probe import (
    Features,
    ProbeHead,
    fit_probe,
    probe_answers,
    put_head,
    take_features,
)


def start_from_probe(session: Session, settings: Settings) -> dict[str, dict[str, float]]:
    """Fits a head on frozen features and starts the model from it; a head made for these labels stays.

    Returns:
        The probe's scores on the rows that count, for its place among the baselines.
    """
    recipe, task = session.recipe, session.task
    is_start = recipe.train.head_start or recipe.train.method == "probe"
    wants_score = recipe.evaluate.baselines and recipe.train.method != "probe"
    if not wants_probe(session):
        session.progress.note("no probe")
        return {}
    file = session.run.checkpoints / "probe.safetensors"
    probe = ProbeHead.load(file)
    if probe is None:
        train, validation = (_features(session, name, settings) for name in ("train", "validation"))
        evaluated = EvalPredictions(session.data.splits["validation"].columns, session.splits["validation"])
        probe = fit_probe(
            task, session.label_schema, (train, session.splits["train"]), (validation, evaluated)
        )
        probe.save(file)
    session.progress.note(f"probe: regularisation C = {probe.strength:g}")
    scores = {}
    if wants_score:
        scores["probe"] = _scores_of(probe, session, settings)
    if is_start:
        put_head(session.model, probe)
    if recipe.train.method != "probe":  # else the scores are made from them
        session.features.clear()
    return scores


def _scores_of(probe: ProbeHead, session: Session, settings: Settings) -> dict[str, float]:
    """On the rows that count, with thresholds of its own from the validation rows."""

    def answered(split: str) -> EvalPredictions:
        evaluated = EvalPredictions(session.data.splits[split].columns, session.splits[split])
        return probe_answers(probe, _features(session, split, settings), evaluated)

    return own_scores(
        session.task, answered(session.final), lambda: answered("validation"), session.data.label_schema
    )


def wants_probe(session: Session) -> bool:
    """Whether there is a head to begin, and a use for what is found."""
    train = session.recipe.train
    is_useful = train.head_start or train.method == "probe" or session.recipe.evaluate.baselines
    return session.task.probe is not None and session.loaded.head_is_new and is_useful


def _features(session: Session, split: str, settings: Settings) -> Features:
    """What the head sees of a split; taken once, and in full precision where the result is scored by it."""
    if split in session.features:
        return session.features[split]
    is_scored = session.recipe.train.method == "probe" and split != "train"
    with session.reading(split) as encoded:
        features = take_features(
            session.task,
            session.model,
            encoded,
            head=session.head,
            pad_token_id=session.tokenizer.pad_token_id,
            bf16=settings.bf16 and not is_scored,
            location=lambda row: session.data.splits[split].location(row % len(session.data.splits[split])),
            advance=session.advance(f"{split} texts"),
        )
    if split != "train":
        session.features[split] = features
    return features

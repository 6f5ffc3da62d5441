"""The model before it is trained; the pipeline scores it, since it has the model."""

from tunesmith.evaluation.baselines import Baseline

baseline = Baseline("the model before training")

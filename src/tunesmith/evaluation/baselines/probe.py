"""A linear head on the frozen model; the pipeline fits it, for the head start too."""

from tunesmith.evaluation.baselines import Baseline

baseline = Baseline("probe (frozen model + linear head)", short="the probe")

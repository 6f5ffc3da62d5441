"""Evaluation: scores with intervals, baselines, slices and groups."""

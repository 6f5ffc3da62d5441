"""How good it is: scores with intervals, baselines beside them, slices and groups."""

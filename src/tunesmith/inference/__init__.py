"""A model and token ids become logits, and a run becomes a predictor."""

"""What a stage of a training decides, where that is more than a call; `tunesmith.pipeline` has their order."""

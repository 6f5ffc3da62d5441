"""The training loop and its parts: probe, optimizer, schedule, randomness, checkpoints, guards."""

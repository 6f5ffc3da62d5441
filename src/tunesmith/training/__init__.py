"""The loop and what it needs: probe, optimizer, schedule, randomness, checkpoints, guards."""

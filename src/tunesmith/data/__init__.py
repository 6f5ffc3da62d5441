"""From files to batches: reading, choosing columns, splitting, encoding, batching; each reads the one before."""

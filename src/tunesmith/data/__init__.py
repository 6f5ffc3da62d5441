"""From files to batches: reading, columns, splits, encoding, batches. Each module uses the one before."""

"""From files to batches: reading, columns, splits, encoding, batches; each reads the one before."""

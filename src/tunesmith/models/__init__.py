"""Base models: finding them, loading them safely, giving them a head, saving the result."""

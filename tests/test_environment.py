"""What a manifest says of the command has no secrets of it."""

import sys

from tunesmith.environment import describe_environment, masked_arguments

KEY = "sk-" + "a1B2" * 8


def test_secrets_of_a_command_are_masked(monkeypatch):
    given = [
        "train", "a.csv", "--api-key", "s3cret", "--token=s3cret", "--db-password", "s3cret", "auth=s3cret",
        "postgresql://u:s3cret@host/x", "--log=postgresql://u:s3cret@host/x", "--note", f"use {KEY} here",
        "train.tokens_per_batch=512", "--key", "-x", "--max-tokens", "8",
    ]  # fmt: skip
    assert masked_arguments(given) == [
        "train", "a.csv", "--api-key", "***", "--token=***", "--db-password", "***", "auth=***",
        "postgresql://u:***@host/x", "--log=postgresql://u:***@host/x", "--note", "use *** here",
        "train.tokens_per_batch=512", "--key", "-x", "--max-tokens", "8",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["/x/script.py", *given])
    command = describe_environment()["command"]
    assert command.startswith("script.py train a.csv --api-key '***'")
    assert "s3cret" not in command
    assert KEY not in command

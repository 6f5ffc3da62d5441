"""What the shell completes, and the script that it is given for that."""

import pytest


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        ("tr", ["train"]),
        ("train --me", ["--method"]),
        ("train --task text-c", ["text-classification"]),
        ("train --method l", ["lora"]),
        ("predict run --format p", ["parquet"]),
        ("list ru", ["runs"]),
        ("list m", ["methods", "metrics"]),
    ],
)
def test_verbs_options_and_names_are_completed(tunesmith, monkeypatch, words, holds):
    monkeypatch.setenv("_TUNESMITH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"tunesmith {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    assert tunesmith().out.split() == holds


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_shown(tunesmith, monkeypatch, shell):
    monkeypatch.setattr("shellingham.detect_shell", lambda: (shell, f"/bin/{shell}"))
    done = tunesmith("--show-completion")
    assert done.code == 0
    assert "_TUNESMITH_COMPLETE=complete_" + shell in done.out

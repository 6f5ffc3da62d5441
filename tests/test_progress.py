import re
import sys
from types import ModuleType

import pytest

from tunesmith.events import Evaluation, Note, Progress, Stage, Step, Warning
from tunesmith.progress import Bar, Lines, describe, is_notebook, short_time

FACTS = Step(5, 10, 0.5, 0.321, 1.0, 1e-4, 2345.6, 65.0)


class Kernel:
    kernel = object()


def test_a_step_in_words():
    assert re.fullmatch(r"epoch 0\.50  loss 0\.321  2,346 tokens/s  1:05 left  \d+\.\d GB", describe(FACTS))
    assert short_time(3725) == "1:02:05"


def test_lines_are_few(capsys):
    lines = Lines()
    lines(Stage("train", "Training"))
    for step in range(1, 101):
        lines(Step(step, 100, 0.1, 0.3, 1.0, 1e-4, 1000, 60))
    lines(Evaluation(100, {"accuracy": 0.5}, "accuracy", True))
    lines(Warning("look here"))
    err = capsys.readouterr().err
    assert err.startswith("── Training\n")
    assert " ! look here" in err
    assert "step 1/100" in err
    assert "step 100/100" in err
    assert "   step 100: validation accuracy 0.5000 (best so far)\n" in err
    assert len(err.splitlines()) < 10


def test_the_bar_takes_everything_a_listener_takes(capsys):
    bar = Bar()
    bar(Stage("train", "Training [bold]"))
    bar(Note("note [red]x[/]"))
    bar(Warning("warning"))
    bar(Progress(3, 10, "texts"))
    bar(FACTS)
    bar.close()
    err = capsys.readouterr().err
    assert "Training [bold]" in err
    assert "note [red]x[/]" in err
    assert "warning" in err


@pytest.mark.parametrize(("shell", "expected"), [(None, False), (object(), False), (Kernel(), True)])
def test_a_notebook_is_recognised_by_its_kernel(shell, expected, monkeypatch):
    """A terminal of IPython has a shell too, and no kernel."""
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert is_notebook() is expected

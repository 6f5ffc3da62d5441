import sys
from dataclasses import dataclass

import pytest

from tunesmith.cli.main import main


@dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def tunesmith(monkeypatch, capsys):
    """Runs the command in this process."""

    def call(*arguments, stdin=None):
        monkeypatch.setattr(sys, "argv", ["tunesmith", *map(str, arguments)])
        if stdin is not None:
            import io

            monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        code = stopped.value.code
        return Done(code if isinstance(code, int) else int(bool(code)), captured.out, captured.err)

    return call

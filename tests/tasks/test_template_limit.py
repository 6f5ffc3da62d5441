"""Chat templates that loop: a rendering has a time limit, in every thread."""

import threading
import time

import pytest

from tunesmith.tasks import RowError
from tunesmith.tasks._chat_templates import turns
from tunesmith.tasks._chat_templates.limit import TimeLimitError, limited

BOMB = (
    "{% for a in range(90000) %}{% for b in range(90000) %}{% for c in range(90000) %}{% endfor %}{% endfor %}"
    "{% endfor %}"
)


def test_a_template_that_loops_is_stopped(monkeypatch, tmp_path):
    from transformers import AutoTokenizer

    from tunesmith.testing.tiny import write_tiny_model

    tokenizer = AutoTokenizer.from_pretrained(write_tiny_model(tmp_path / "llama", family="llama"))
    tokenizer.chat_template = BOMB
    monkeypatch.setattr(turns, "_MOST_S", 0.3)
    began = time.monotonic()
    with pytest.raises(RowError, match=r"the chat template takes more than 0\.3 seconds"):
        turns.render([{"role": "user", "content": "hi"}], tokenizer, None)
    assert time.monotonic() - began < 5


def test_the_limit_reaches_other_threads_and_spares_what_is_in_time():
    ended = []

    def work(seconds):
        try:
            with limited(0.3):
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    pass
            ended.append("in time")
        except TimeLimitError:
            ended.append("stopped")

    threads = [threading.Thread(target=work, args=(seconds,)) for seconds in (0.01, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert ended == ["in time", "stopped"]
    with limited(0.01):
        pass
    time.sleep(0.4)  # what has ended is not stopped later

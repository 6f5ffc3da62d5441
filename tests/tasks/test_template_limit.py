"""Chat templates that loop or fill the memory: a rendering has limits, in every thread."""

import resource
import threading
import time

import pytest

from tunesmith.tasks import RowError
from tunesmith.tasks._chat_templates import limit, turns
from tunesmith.tasks._chat_templates.limit import RefusedTemplateError, TimeLimitError, limited, refuse_costly
from tunesmith.testing.chat_templates import byte_tokenizer

BOMB = (
    "{% for a in range(90000) %}{% for b in range(90000) %}{% for c in range(90000) %}{% endfor %}{% endfor %}"
    "{% endfor %}"
)


def rendered(template):
    return turns.render([{"role": "user", "content": "hi"}], byte_tokenizer(template=template), None)


def test_a_template_that_loops_is_stopped(monkeypatch):
    monkeypatch.setattr(turns, "_MOST_S", 0.3)
    began = time.monotonic()
    with pytest.raises(RowError, match=r"the chat template takes more than 0\.3 seconds"):
        rendered(BOMB)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 10000000000 }}",  # computed when the template is compiled
        "{{ messages[0]['content'] * 10000000000 }}",
        "{{ ['a'] * 10000000000 }}",
        "{{ 'a'|center(10000000000) }}",
        "{{ '%10000000000d'|format(1) }}",
        "{{ 'a'.ljust(10000000000) }}",
        "{% set x = namespace(y='a') %}{% for i in range(60) %}{% set x.y = x.y ~ x.y %}{% endfor %}",
    ],
)
def test_a_template_that_fills_the_memory_is_stopped(template, monkeypatch):
    monkeypatch.setattr(limit, "_MOST_BYTES", 2**27)
    before, limits = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        resource.getrlimit(resource.RLIMIT_AS),
    )
    with pytest.raises(RowError, match="the chat template"):
        rendered(template)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    assert resource.getrlimit(resource.RLIMIT_AS) == limits


@pytest.mark.parametrize(
    "template", ["{{ 9**9**9**9 }}", "{% set x = [9 ** 9] %}", "{#" + "a" * 2**20 + "#}"]
)
def test_a_template_that_computes_for_hours_is_refused_beforehand(template):
    with pytest.raises(RowError, match="the chat template is refused"):
        rendered(template)


def test_keywords_are_no_power():
    refuse_costly("{{ f(**a) }}{{ f(1, ** a) }} 2**3")
    with pytest.raises(RefusedTemplateError):
        refuse_costly("{{ f(a ** b) }}")


@pytest.mark.parametrize("template", ["{{ 1 / 0 }}", "{{ 'a' * 1" + "0" * 30 + " }}", "{{ " + "(" * 9999])
def test_what_python_raises_is_an_error_of_the_template(template):
    with pytest.raises(RowError, match="the chat template refuses the conversation"):
        rendered(template)


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

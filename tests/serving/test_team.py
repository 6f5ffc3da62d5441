"""What becomes of requests when workers die: they are tried once more, and then refused."""

from __future__ import annotations

import asyncio
import time

import pytest

from tunesmith.serving.asks import Ask
from tunesmith.serving.refused import Refused
from tunesmith.serving.team import Team


class Standing:
    """A worker that computes nothing."""

    process = None

    def __init__(self, team):
        self.team, self.asks, self.load, self.is_ready = team, {}, 0, True
        team.workers.append(self)

    def give(self, ask):
        self.asks[ask.number] = ask
        self.load += ask.size

    def take_back(self, ask):
        self.asks.pop(ask.number, None)


def team_of(n):
    team = Team([], n, lambda batch: None, lambda: None)
    team.facts = asyncio.get_running_loop().create_future()
    team.facts.set_result([])

    async def no_restart():
        pass

    team._restart = no_restart
    return team, [Standing(team) for _ in range(n)]


def ask(number, n=1, **how):
    future = asyncio.get_running_loop().create_future()
    return Ask(number, {"run": "a", "rows": ["x"] * n}, 1, time.monotonic() + 9, future, None, **how)


def in_loop(function):
    """Runs a test in an event loop."""

    def test():
        asyncio.run(function())

    test.__name__ = function.__name__
    return test


@in_loop
async def test_the_worker_with_the_least_load_is_asked():
    team, (one, other) = team_of(2)
    for number, n in enumerate((5, 1, 1, 1)):
        team.submit(ask(number, n))
    assert list(one.asks) == [0]
    assert list(other.asks) == [1, 2, 3]


@in_loop
async def test_requests_of_a_dead_worker_go_to_another_and_then_they_are_refused():
    team, (one, other) = team_of(2)
    lost = ask(1)
    one.give(lost)
    team.lost(one)
    assert list(other.asks) == [1]
    team.lost(other)
    with pytest.raises(Refused) as refused:
        await lost.answered
    assert refused.value.status == 503


@in_loop
async def test_without_a_worker_a_request_waits_for_the_next():
    team, (one,) = team_of(1)
    one.give(waiting := ask(1))
    team.lost(one)
    team.submit(ask(2))
    assert not waiting.answered.done()
    new = Standing(team)
    team.came(new, [])
    assert sorted(new.asks) == [1, 2]


@in_loop
async def test_a_text_that_has_begun_is_not_repeated():
    team, (one, other) = team_of(2)
    begun, not_begun = ask(1, deltas=asyncio.Queue()), ask(2, deltas=asyncio.Queue())
    begun.is_streaming = True
    one.give(begun)
    one.give(not_begun)
    team.lost(one)
    assert list(other.asks) == [2]
    assert await begun.deltas.get() is None
    with pytest.raises(Refused):
        await begun.answered


@in_loop
async def test_what_nobody_waits_for_is_taken_back():
    team, (one,) = team_of(1)
    one.give(first := ask(1))
    team.withdraw(first)
    assert not one.asks
    one.is_ready = False
    team.submit(parked := ask(2))
    team.withdraw(parked)
    team.came(one, [])
    assert not one.asks

"""A canary: a share of the requests goes to a challenger, until it is found to be worse than the champion.

The share is drawn by a hash of the request's id, so that a request that is sent again goes the same way. Two
rules end a canary. Each is a sequential test that may be looked at after every request: it ends a canary that
keeps to the rule with a probability of at most 1 %, however long it runs.

errors   At most 1 in 100 of its requests may fail where the champion answers. A request that fails goes to the
         champion at once, so its client notices nothing, and whether the champion answers is known.
latency  At most 5 in 100 of its requests may take longer than 1.5 times (`--canary-slower`) the time within which
         the champion answers 95 in 100, of its last 1,000.

The test is a bet at fair odds that the rule is broken (Ville's inequality; Ramdas et al. 2023, "Game-theoretic
statistics and safe anytime-valid inference"): what is won on the average of many alternatives. When the stake has
grown a hundredfold, the canary ends.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

MOST_ERRORS = 0.01
MOST_SLOW = 0.05
FALSE_ALARM = 0.01
_REMEMBERED = 1000
_LEAST_KNOWN = 100
"""Requests of the champion from which its time is known."""
_ALTERNATIVES = 40


class RateTest:
    """Whether something happens more often than it may, by a test that is valid at any time.

    Args:
        most: the largest share that keeps to the rule.
    """

    def __init__(self, most: float) -> None:
        self.most = most
        self.n = self.k = 0
        odds = most / (1 - most)
        steps = [odds * 1.5 * (1000 / odds) ** (i / (_ALTERNATIVES - 1)) for i in range(_ALTERNATIVES)]
        shares = [step / (1 + step) for step in steps]
        self._gains = [(math.log(share / most), math.log((1 - share) / (1 - most))) for share in shares]
        """What the logarithm of each bet gains when it happens, and when it does not."""

    def add(self, happened: bool) -> None:
        """Counts one more."""
        self.n += 1
        self.k += happened

    @property
    def evidence(self) -> float:
        """By how much a bet that the rule is broken has grown; above `1 / FALSE_ALARM`, it is broken."""
        k, rest = self.k, self.n - self.k
        bets = (math.exp(min(k * yes + rest * no, 700.0)) for yes, no in self._gains)
        return sum(bets) / len(self._gains)

    @property
    def is_broken(self) -> bool:
        """Whether the rule is broken."""
        return self.evidence >= 1 / FALSE_ALARM

    def to_json(self) -> JsonObject:
        """The counts, and what they say."""
        return {"n": self.n, "k": self.k, "most": self.most, "evidence": round(self.evidence, 3)}


class Canary:
    """Which requests a challenger gets, and how it fares.

    Args:
        share: share of the requests.
        slower: how many times longer than the champion's slowest 5 % it may take.
    """

    def __init__(self, share: float, slower: float) -> None:
        self.share, self.slower = share, slower
        self.errors, self.slow = RateTest(MOST_ERRORS), RateTest(MOST_SLOW)
        self._champion_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._limit_s, self._n_since = math.inf, 0

    def takes(self, request: str) -> bool:
        """Whether a request goes to the challenger.

        Args:
            request: id of the request.
        """
        digest = hashlib.blake2b(request.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest) < self.share * 2**64

    def champion_took(self, seconds: float) -> None:
        """Learns how long the champion takes."""
        self._champion_s.append(seconds)
        self._n_since += 1
        n = len(self._champion_s)
        if n >= _LEAST_KNOWN and (self._n_since >= n // 10 or math.isinf(self._limit_s)):
            self._n_since = 0
            self._limit_s = self.slower * sorted(self._champion_s)[math.ceil((1 - MOST_SLOW) * n) - 1]

    def took(self, seconds: float) -> None:
        """Counts how long the challenger took; not before the champion's time is known."""
        if math.isfinite(self._limit_s):
            self.slow.add(seconds > self._limit_s)

    @property
    def broken_rule(self) -> str:
        """The rule that the challenger has broken; empty for none."""
        return "errors" if self.errors.is_broken else "latency" if self.slow.is_broken else ""

    def to_json(self) -> JsonObject:
        """What is known of it."""
        limit = self._limit_s if math.isfinite(self._limit_s) else None
        return {
            "share": self.share, "errors": self.errors.to_json(),
            "latency": self.slow.to_json() | {"limit_s": limit, "slower": self.slower},
        }  # fmt: skip

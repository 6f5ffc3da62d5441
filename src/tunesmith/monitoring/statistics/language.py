"""In which languages the texts are. Those whose language is not certain count as a language of their own."""

from __future__ import annotations

from collections import Counter

import numpy as np

from tunesmith.monitoring.permutation import of_counts
from tunesmith.monitoring.statistics import Compared, Measured, NotMeasurable, Statistic, require_rows

_UNCERTAIN = "not certain"
_SHOWN = 3


def _measure(compared: Compared) -> Measured:
    usual, now = (list(rows.languages) for rows in (compared.reference.rows, compared.window))
    require_rows(len(usual), len(now))
    certain = Counter(name for name in usual if name)
    if not certain:
        raise NotMeasurable("no text of the reference is long enough to tell its language")
    names = sorted({*usual, *now})
    codes = np.array([names.index(name) for name in [*usual, *now]])
    distance = compared.test(of_counts(np.eye(len(names))[codes]), len(usual))
    main = certain.most_common(1)[0][0]
    shares = {name or _UNCERTAIN: n / len(now) for name, n in Counter(now).most_common()}
    value, reference = shares.get(main, 0.0), certain[main] / len(usual)
    others = ", ".join(f"`{name}` {share:.1%}" for name, share in list(shares.items())[:_SHOWN])
    return Measured(
        value,
        f"{value:.1%} of the texts are in `{main}`, of the reference {reference:.1%} (now {others})",
        reference=reference,
        p=distance.p,
        details={"main": main, "shares": shares},
    )


statistic = Statistic("languages of the texts", "Language", "share", _measure)

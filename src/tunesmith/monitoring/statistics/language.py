"""In which languages the texts are, as far as that is certain."""

from __future__ import annotations

from collections import Counter

import numpy as np

from tunesmith.monitoring.permutation import of_counts
from tunesmith.monitoring.statistics import Compared, Measured, Statistic, require_rows


def _measure(compared: Compared) -> Measured:
    sides = [[name for name in rows.languages if name] for rows in (compared.reference.rows, compared.window)]
    require_rows(len(sides[0]), len(sides[1]))
    names = sorted({*sides[0], *sides[1]})
    codes = np.array([names.index(name) for name in [*sides[0], *sides[1]]])
    distance = compared.test(of_counts(np.eye(len(names))[codes]), len(sides[0]))
    usual, now = (Counter(side) for side in sides)
    main = usual.most_common(1)[0][0]
    shares = {name: n / now.total() for name, n in now.most_common()}
    value, reference = shares.get(main, 0.0), usual[main] / usual.total()
    others = ", ".join(f"`{name}` {share:.1%}" for name, share in list(shares.items())[:3])
    return Measured(
        value,
        f"of {now.total():,} texts of certain language, {value:.1%} are in `{main}`, of the reference "
        f"{reference:.1%} (now {others})",
        reference=reference,
        p=distance.p,
        details={"main": main, "shares": shares},
    )


statistic = Statistic("languages of the texts", "Language", "share", _measure)

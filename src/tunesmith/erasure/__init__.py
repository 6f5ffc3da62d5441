"""Erasure: everything of a person is found by id, and removed where this package keeps copies of it.

wanted     whose rows: by id, by a column, by text, or by an answer of a log
run_files  what a run folder holds of them
erasing    all places, one after the other, and what was found
"""

from tunesmith.erasure.erasing import Erasure, erase
from tunesmith.erasure.wanted import Asked

__all__ = ["Asked", "Erasure", "erase"]

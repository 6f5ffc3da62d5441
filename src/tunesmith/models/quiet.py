"""Switches off the progress bars and warnings of transformers."""

from __future__ import annotations


class quiet:  # noqa: N801 (reads as a verb in `with quiet():`)
    """A context without transformers' progress bars and its warning of a new head, reported by us."""

    def __enter__(self) -> None:
        from transformers.utils import logging

        self.before = (logging.get_verbosity(), logging.is_progress_bar_enabled())
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        from transformers.utils import logging

        logging.set_verbosity(self.before[0])
        if self.before[1]:
            logging.enable_progress_bar()

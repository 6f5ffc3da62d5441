"""transformers without its own bars and warnings."""

from __future__ import annotations


class quiet:  # noqa: N801 (reads as a verb in `with quiet():`)
    """Silences transformers' own bars and its warning that a head is new: we say it ourselves."""

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

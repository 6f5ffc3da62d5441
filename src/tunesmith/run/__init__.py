"""The run folder: what is where, its format and migrations, whose recipe it has, and who may write to it.

`folder` has the class `Run`; `files` and `json_files` write files that appear whole or not at all, for all rooms.
"""

from tunesmith.run.comparison import request_entries
from tunesmith.run.files import sha256_of, write_atomically
from tunesmith.run.folder import Run, is_recipe_of_run
from tunesmith.run.json_files import finite, read_json, write_json

__all__ = [
    "Run",
    "finite",
    "is_recipe_of_run",
    "read_json",
    "request_entries",
    "sha256_of",
    "write_atomically",
    "write_json",
]

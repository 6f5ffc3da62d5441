"""What tests of texts that a recipe names share."""

import pytest


@pytest.fixture
def written(tmp_path):
    """Writes a file of a user's and gives its path; that of a file that is not there where the content is None."""

    def write(content: str | bytes | None) -> str:
        file = tmp_path / "given.txt"
        if content is not None:
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(file)

    return write

import pytest

from tunesmith.errors import RecipeError
from tunesmith.inference.harmful_prompts import read_prompts


def test_the_package_has_prompts_of_several_kinds():
    found = read_prompts("auto")
    assert len({text for _, text in found}) == len(found) == 30
    assert len({kind for kind, _ in found}) == 9
    assert read_prompts("none") == []


@pytest.mark.parametrize("content", ["# only a remark\n", None])
def test_a_file_without_prompts_is_refused(written, content):
    with pytest.raises(RecipeError, match=r"evaluate\.harmful_prompts"):
        read_prompts(written(content))

import pytest
import yaml

from tunesmith.recipe.loader import Loader


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-4", 2e-4), ("1.5", 1.5), ("010", 10), ("-3", -3), ("true", True), ("null", None), ("~", None),
        ("yes", "yes"), ("off", "off"), ("12:30", "12:30"), ("2024-01-01", "2024-01-01"), ("0x10", "0x10"),
        (".inf", float("inf")), ("1_000", "1_000"), ("", None),
    ],
)  # fmt: skip
def test_core_schema(text, value):
    assert yaml.load(text, Loader=Loader) == value


def test_no_python_objects():
    with pytest.raises(yaml.YAMLError):
        yaml.load("!!python/object/apply:os.system [echo]", Loader=Loader)

from tunesmith.cli.output import print_table


def test_tables_put_numbers_to_the_right(capsys):
    print_table(["name", "n"], [["a", "1.0"], ["bb", "10.0"]])
    assert capsys.readouterr().out.splitlines() == ["name     n", "────  ────", "a      1.0", "bb    10.0"]

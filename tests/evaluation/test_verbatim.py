from tunesmith.evaluation.verbatim import RUN, longest_repeats

TEXT = " ".join(f"word{i}" for i in range(30))


def part(first, n):
    return " ".join(TEXT.split()[first : first + n])


def test_the_longest_stretch_is_counted_without_case_and_punctuation():
    written = [f"Well: {part(3, 20).upper()}, it goes on", part(0, RUN - 1), "quite another text"]
    assert longest_repeats(written, ["", "", ""], [TEXT, "more"]) == [20, 0, 0]


def test_what_the_prompt_holds_is_no_repeat():
    assert longest_repeats([part(0, 20), part(0, 20)], [TEXT, "say it"], [TEXT]) == [0, 20]

from tunesmith.inference.canaries import OTHERS, Canary


def test_others_have_the_form_of_the_secret():
    others = Canary("the code is", "aB-19 z").others()
    assert len(set(others)) == OTHERS
    assert "aB-19 z" not in others
    for other in others:
        assert len(other) == 7
        assert other[0].islower()
        assert other[1].isupper()
        assert other[2] == "-"
        assert other[3:5].isdigit()
        assert other[5] == " "
    assert others == Canary("the code is", "aB-19 z").others()

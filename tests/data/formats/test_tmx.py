import gzip
import itertools

import pytest

from tunesmith.data.reading import read_rows
from tunesmith.errors import DataError

DOCUMENT = """<?xml version="1.0" encoding="{encoding}"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header srclang="en"><note>not a text</note></header><body>{body}</body></tmx>
"""


def unit(**variants):
    return "<tu>" + "".join(tuv(lang.replace("_", "-"), seg) for lang, seg in variants.items()) + "</tu>"


def tuv(language, segment):
    return f'<tuv xml:lang="{language}"><prop type="x">no</prop><seg>{segment}</seg></tuv>'


@pytest.fixture
def rows(tmp_path):
    def read(body, encoding="UTF-8"):
        text = DOCUMENT.format(body=body, encoding=encoding) if not body.startswith("<?xml") else body
        (tmp_path / "a.tmx").write_bytes(text.encode(encoding))
        return [row for _, row in read_rows(str(tmp_path / "a.tmx"))]

    return read


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16", "ISO-8859-1"])
def test_a_row_is_a_unit(rows, encoding):
    found = rows(unit(en="A wheel.", de="Ein Rädchen.") + unit(en="A bell.", de="Eine Klingel."), encoding)
    assert [row.values for row in found] == [
        {"en": "A wheel.", "de": "Ein Rädchen."},
        {"en": "A bell.", "de": "Eine Klingel."},
    ]
    assert [row.location("a.tmx") for row in found] == ["a.tmx, unit 1", "a.tmx, unit 2"]


def test_a_language_is_named_by_its_primary_subtag_unless_two_variants_meet(rows):
    found = rows(unit(en_US="color", pt_BR="cor") + unit(en_US="color", en_GB="colour"))
    assert [row.values for row in found] == [
        {"en": "color", "pt": "cor"},
        {"en-US": "color", "en-GB": "colour"},
    ]


def test_markup_is_dropped_and_text_kept(rows):
    segment = (
        'Press <bpt i="1">&lt;b&gt;</bpt>the <hi>big</hi> bell<ept i="1">&lt;/b&gt;</ept> '
        '<ph x="1">{0}<sub>tip</sub></ph>&amp; <it pos="begin">[i]</it>ride.'
    )
    assert rows(unit(en=segment))[0].values == {"en": "Press the big bell & ride."}


def test_old_files_name_their_language_without_a_prefix(rows):
    assert rows('<tu><tuv lang="EN"><seg>a</seg></tuv></tu>')[0].values == {"EN": "a"}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<tu><note>nothing</note></tu>", "the unit has no `tuv`."),
        ("<tu><tuv><seg>a</seg></tuv></tu>", "a `tuv` has no `xml:lang`."),
        ('<tu><tuv xml:lang="en"/></tu>', "the `tuv` in `en` has no `seg`."),
        (f"<tu>{tuv('en', 'a')}{tuv('en', 'b')}</tu>", "two variants of the unit are in `en`."),
        (unit(en="a&nbsp;b"), "the entity `&nbsp;` is not defined."),
    ],
)
def test_a_wrong_unit_is_a_fault(rows, body, problem):
    bad, good = rows(body + unit(en="a", de="b"))
    assert bad.problem == problem
    assert (good.line, good.problem) == (2, "")


def test_units_come_before_the_file_is_read_to_its_end(tmp_path):
    text = DOCUMENT.format(body=unit(en="a" * 50, de="b") * 5000, encoding="UTF-8")
    (tmp_path / "a.tmx").write_text(text.removesuffix("</body></tmx>\n"))
    found = read_rows(str(tmp_path / "a.tmx"))
    assert next(found)[1].values["de"] == "b"
    with pytest.raises(DataError, match="is not XML: no element found"):
        list(found)


LAUGHS = '<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in itertools.pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    "subset",
    [
        LAUGHS,
        '<!ENTITY a "harmless">',
        '<!ENTITY a SYSTEM "file:///etc/passwd">',
        '<!ENTITY % a SYSTEM "http://example.org/evil.dtd"> %a;',
    ],
)
def test_declared_entities_are_refused(rows, subset):
    with pytest.raises(DataError, match="must not declare entities"):
        rows(f'<?xml version="1.0"?><!DOCTYPE tmx [{subset}]><tmx><body>{unit(en="&i;")}</body></tmx>')


def test_what_is_no_xml(rows):
    with pytest.raises(DataError, match="is not XML: mismatched tag: line 3"):
        rows("<tu>")


def test_compressed(tmp_path):
    text = DOCUMENT.format(body=unit(en="a", de="b"), encoding="UTF-8")
    (tmp_path / "a.tmx.gz").write_bytes(gzip.compress(text.encode()))
    assert [row.values for _, row in read_rows(str(tmp_path / "a.tmx.gz"))] == [{"en": "a", "de": "b"}]
    many = DOCUMENT.format(body=unit(en="a", de="b") * 9000, encoding="UTF-8")
    (tmp_path / "a.tmx.gz").write_bytes(gzip.compress(many.encode())[:-9])
    with pytest.raises(DataError, match="damaged gzip file"):
        list(read_rows(str(tmp_path / "a.tmx.gz")))

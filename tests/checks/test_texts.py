"""Checks that read texts and labels alone, on real rows with planted faults."""

import pytest

from tunesmith.checks.characters import problems_of, repaired
from tunesmith.checks.languages import count_languages


def of_split(findings, split="train"):
    return [it for it in findings if it.evidence.get("split", split) == split]


def test_mojibake_is_found_and_repaired(checked, find, sst2):
    rows = sst2("train", 200)
    meant = [f"{row['text']} – “café”, naïve" for row in rows[:20]]
    broken = [text.encode("utf-8").decode("windows-1252", "replace") for text in meant]
    planted = [{**row, "text": text} for row, text in zip(rows, broken, strict=False)]
    fine = [{**row, "text": text} for row, text in zip(rows[20:40], meant, strict=False)]
    [finding] = of_split(
        find("characters", checked(train=[*planted, *fine, *rows[40:]], validation=rows[:3]))
    )
    assert {it.row for it in finding.rows} == set(range(20))
    values = {change.row: change.value for change in finding.changes}
    assert sum("café" in value and "naïve" in value for value in values.values()) == 20


@pytest.mark.parametrize(
    ("text", "kinds", "mended"),
    [
        ("a\x00b\x1bc", ["control"], "abc"),
        ("zero\u200bwidth", ["invisible"], "zerowidth"),
        ("lost \ufffd here", ["replaced"], "lost \ufffd here"),
        ("line\nbreak\tand tab", [], "line\nbreak\tand tab"),
        ("👩‍👩‍👧 family, क्‍ष", [], "👩‍👩‍👧 family, क्‍ष"),
        ("schöne Grüße, ça va, 你好", [], "schöne Grüße, ça va, 你好"),
        ("schÃ¶ne GrÃ¼ÃŸe", ["mojibake"], "schöne Grüße"),
    ],
)
def test_characters(text, kinds, mended):
    assert problems_of(text) == kinds
    assert repaired(text) == mended


def test_real_texts_in_other_languages_are_not_broken(shared):
    import json

    for language in ("de", "es", "zh", "ar"):
        articles = json.loads((shared / "data" / "xquad" / f"{language}.test.json").read_text())["data"]
        contexts = [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]
        broken = [text for text in contexts if "mojibake" in problems_of(text)]
        signs = ("â€", "Â·", "Ã©", "âˆ’")
        assert all(any(sign in text for sign in signs) for text in broken), "6 Arabic ones are really broken"
        assert len(broken) == (6 if language == "ar" else 0)


def test_where_answers_have_locations_nothing_is_changed(checked, find):
    rows = [
        {"id": str(n), "question": f"who {n}?", "context": f"cafÃ© number {n} belongs to jo{n}@example.org.",
         "answers": {"text": ["number"], "answer_start": [6]}} for n in range(12)
    ]  # fmt: skip
    data = checked("question-answering", train=rows[:8], validation=rows[8:])
    for name in ("characters", "personal_data"):
        [finding] = of_split(find(name, data))
        assert len(finding.rows) == 8
        assert not finding.changes


def test_personal_data_are_counted_and_not_shown(checked, find, sst2):
    rows = sst2("train", 60)
    rows[3]["text"] += " write to jo.doe@example.org"
    rows[5]["text"] += " card 4111 1111 1111 1111"
    rows[7]["text"] += " card 4111 1111 1111 1112"
    [finding] = of_split(find("personal_data", checked(train=rows, validation=rows[:2])))
    assert [it.row for it in finding.rows] == [3, 5]
    assert finding.evidence["found"] == {"email": 1, "card": 1}
    assert not any("jo.doe" in it.note or "1111 1111" in it.note for it in finding.rows)
    assert {change.row: change.value[-7:] for change in finding.changes} == {
        3: "[EMAIL]",
        5: "[CARD]"[-7:].rjust(7),
    }


def test_texts_of_conversations_are_read_and_changed_in_their_shape(checked, find):
    def talk(n, said):
        return {
            "messages": [{"role": "user", "content": said}, {"role": "assistant", "content": f"answer {n}"}]
        }

    rows = [talk(n, f"question {n} from jo{n}@example.org" if n < 2 else f"question {n}") for n in range(12)]
    [finding] = of_split(find("personal_data", checked("chat", train=rows[:10], validation=rows[10:])))
    assert [it.row for it in finding.rows] == [0, 1]
    assert finding.changes[0].value[0] == {"role": "user", "content": "question 0 from [EMAIL]"}


def test_texts_that_say_nothing(checked, find, sst2):
    rows = sst2("train", 50)
    rows[1]["text"], rows[2]["text"], rows[4]["text"] = "?!…", "ha ha ha ha ha ha ha", "42"
    [finding] = of_split(find("empty_texts", checked(train=rows, validation=rows[10:12])))
    assert [(it.row, it.note) for it in finding.rows] == [
        (1, "no letter and no digit"),
        (2, "one word again and again"),
    ]


def test_boilerplate_is_found_where_different_texts_share_it(checked, find, sst2):
    rows = sst2("train", 200)
    assert find("boilerplate", checked(train=rows, validation=rows[:2])) == []
    for row in rows[:40]:
        row["text"] += " this message is confidential and private"
    [finding] = find("boilerplate", checked(train=rows, validation=rows[100:102]))
    assert finding.evidence["words"] == "this message is confidential and private"
    assert [it.row for it in finding.rows] == list(range(40))


def test_rare_labels_and_a_majority(checked, find, sst2):
    rows = [{**row, "label": "common"} for row in sst2("train", 200)]
    for row in rows[:3]:
        row["label"] = "rare"
    for row in rows[3:20]:
        row["label"] = "usual"
    findings = find("class_balance", checked(train=rows, validation=rows[100:180]))
    assert findings[0].evidence["rare"] == {"rare": 3}
    assert findings[0].severity == "warn"
    assert findings[1].evidence["rare"] == {"rare": 0, "usual": 0}
    assert findings[2].evidence["share"] == pytest.approx(180 / 200)
    balanced = [{**row, "label": "ab"[i % 2]} for i, row in enumerate(rows)]
    assert find("class_balance", checked(train=balanced, validation=balanced[:60])) == []


def test_labels_of_entities_are_counted_by_rows(checked, find):
    def sentence(n, label):
        return {"tokens": ["Ann", "lives", "in", f"town{n}"], "tags": [f"B-{label}", "O", "O", "O"]}

    rows = [sentence(n, "PER") for n in range(30)] + [sentence(n, "ORG") for n in range(3)]
    findings = find("class_balance", checked("token-classification", train=rows, validation=rows[:20]))
    assert findings[0].evidence["rare"] == {"ORG": 3}


def test_long_texts(checked, find, sst2):
    rows = sst2("train", 30)
    rows[4]["text"] = "word " * 400
    [finding] = find("length", checked(train=rows, validation=rows[:2]))
    assert [(it.row, it.score) for it in finding.rows] == [(4, 400.0)]


def test_what_the_model_cuts_is_said_where_it_is_known(checked, find, sst2):
    from dataclasses import replace

    data = checked(train=sst2("train", 30), validation=sst2("validation", 5))
    report = {"rows_cut": 2, "rows_windowed": 0, "rows_without": 0, "lost": {"tokens": [120, 900]}}
    whole = {**report, "rows_cut": 0, "lost": {}}
    [finding] = find("length", replace(data, truncation={"train": report, "validation": whole}))
    assert "2 of 30 train texts are longer than the model reads" in finding.text
    assert finding.evidence["lost"] == {"tokens": {"lost": 120, "of": 900}}
    assert len(finding.rows) == 2


def test_texts_in_another_language(shared, checked, find, sst2):
    import json

    articles = json.loads((shared / "data" / "xquad" / "de.test.json").read_text())["data"]
    german = [paragraph["context"][:300] for article in articles[:4] for paragraph in article["paragraphs"]][
        :8
    ]
    rows = sst2("train", 150)
    assert find("languages", checked(train=rows, validation=rows[:5])) == []
    planted = [{**row, "text": text} for row, text in zip(rows, german, strict=False)]
    [finding] = find("languages", checked(train=[*planted, *rows[8:]], validation=rows[20:25]))
    assert [it.row for it in finding.rows] == list(range(8))
    assert finding.evidence["languages"]["de"] == 8


def test_languages_are_counted_in_short_texts_together_and_in_long_ones_alone():
    long = "Das alte Haus am Fluss steht seit vielen Jahren leer, und niemand weiß, wem es gehört."
    short = ["where is it", "not so fast", "it is cold today", "who are you", "thank you very much"] * 20
    assert count_languages([long] * 5) == {"de": 5}
    assert set(count_languages(short)) == {"en"}
    assert count_languages(["123", ""]) == {}


def test_all_that_is_wrong_with_rows_is_in_the_evidence(checked, find):
    rows = [{"text": f"text {n}", "label": "ab"[n % 2]} for n in range(12)]
    data = checked(train=[*rows, {"text": "", "label": "a"}, {"text": "x"}], validation=rows[:4])
    [finding] = find("invalid_rows", data)
    assert finding.evidence["invalid_rows"] == 2
    assert {kind["reason"] for kind in finding.evidence["kinds"]} == {"text is empty.", "no label."}
    assert finding.evidence["kinds"][0]["first"][0].endswith("train.jsonl, line 13")

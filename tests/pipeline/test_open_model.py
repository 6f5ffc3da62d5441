"""What is reported when a model is opened."""

import tunesmith
from tunesmith.testing.listeners import Recorder
from tunesmith.testing.tiny import write_rows

GERMAN = (
    "die Bremse quietscht sehr laut und zieht nicht",
    "wann kommt mein Paket endlich bei mir zu Hause an",
    "bitte schicken Sie mir den richtigen Reifen",
    "der Sattel ist viel zu hart für eine lange Tour",
)


def test_texts_in_another_language_than_the_model(tiny_model, tmp_path):
    rows = [
        {"text": f"{text} {number}", "label": "ab"[number % 2]} for number in range(12) for text in GERMAN
    ]
    heard = Recorder()
    tunesmith.train(
        task="text-classification",
        model=str(tiny_model),
        data=[str(write_rows(tmp_path / "rows.csv", rows))],
        output_dir=str(tmp_path / "run"),
        overrides={"train.max_steps": 1, "evaluate.bootstrap_samples": 100},
        listeners=[heard],
    )
    warned = [text for text in heard.warnings if "was probably not made for the language of `text`" in text]
    assert len(warned) == 1
    assert "docs/faq.md#other-languages" in warned[0]

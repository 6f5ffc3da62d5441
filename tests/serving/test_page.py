"""The page in a real browser: it asks, shows answers, and runs nothing that a text says."""

from __future__ import annotations

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
_OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-proxy-server",
]  # fmt: skip
EVIL = "<img src=x onerror=\"document.title='bad'\"> the old cat </p><script>document.title='bad'</script>"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(params=[1280, 390], ids=["wide", "narrow"])
def page(browser, server, request):
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    problems: list[str] = []
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.set_default_timeout(20_000)
    yield page
    assert not problems
    assert page.title() == "tunesmith serve"
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.close()


def opened(page, server, run):
    page.goto(f"{server.url}/#{run}")
    page.reload()
    page.locator("#ask:not([hidden])").wait_for()
    assert page.locator("h1").inner_text() == run


def answer(page):
    page.locator("#send").click()
    page.locator("#state", has_text="ms").wait_for()
    return page.locator("#answer").inner_text()


def test_every_kind_of_answer(page, server, predictors):
    opened(page, server, "text-classification")
    page.locator("textarea").fill(EVIL)
    expected = predictors("text-classification")(EVIL)
    said = answer(page)
    assert said.splitlines()[0] == expected["label"]
    assert f"{100 * expected['score']:.1f} %" in said
    assert ("abstains" in said) == expected["abstained"]
    page.locator("textarea").fill("the old cat " * 90)
    assert "Only 64 of 272 tokens were read." in answer(page)
    assert page.locator("#earlier-list li").count() == 2

    opened(page, server, "token-classification")
    text = "🙂 the cat is <b>red</b>"  # positions count characters, and not the halves of a pair
    page.locator("textarea").fill(text)
    answer(page)
    entities = predictors("token-classification")(text)["entities"]
    marks = page.locator("#answer mark").all()
    assert [mark.evaluate("mark => mark.firstChild.textContent") for mark in marks] == [
        entity["word"] for entity in entities
    ]

    opened(page, server, "question-answering")
    page.locator("#example-list button").first.click()
    page.locator("#state", has_text="ms").wait_for()
    assert page.locator("#answer").inner_text().strip()


def test_a_chat(page, server, predictors):
    opened(page, server, "chat")
    for text in ("the old cat", EVIL):
        page.locator("textarea").fill(text)
        page.locator("textarea").press("Enter")
        page.locator("#state", has_text="ms").wait_for()
        page.locator("#send:not([disabled])").wait_for()
    turns = page.locator(".turn").all_inner_texts()
    first = predictors("chat")("the old cat")["message"]["content"]
    assert [turns[0], turns[1], turns[2]] == ["the old cat", first, EVIL]
    said = [{"role": "user", "content": turns[0]}, {"role": "assistant", "content": turns[1]}]
    asked = {"messages": [*said, {"role": "user", "content": EVIL}]}
    assert turns[3] == predictors("chat")(asked)["message"]["content"]


def test_the_policy_allows_no_other_code(client):
    said = client.get("/")
    policy = said.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in said.text.replace("http-equiv", "")
    for file in ("page.js", "page.css", "report.css", "icon.svg"):
        assert client.get(f"/page/{file}").status_code == 200
    assert client.get("/page/index.html").status_code == 404
    assert client.get("/page/..%2f..%2fserver.py").status_code == 404

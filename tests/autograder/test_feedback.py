"""The student's page: escaped, self-contained, accessible, and saying the thing that helps next."""

from __future__ import annotations

import re
from dataclasses import asdict
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from autograder import feedback
from autograder.exercise import CaseVerdict, Verdict
from autograder.gradebook import Record, Standing

EVIL = "</style><script>alert(1)</script>\u202e\x1b[31m\ud800"


def submission(*exercises: Verdict, quiz=None, remarks=()) -> dict:
    return {"stem": "toys", "exercises": [asdict(e) for e in exercises], "quiz": quiz, "remarks": list(remarks),
            "seconds": 1.0}


def wrong(message="the result differs at [0, 1]", line=None, hint="Keep the dim.") -> Verdict:
    cases = (CaseVerdict("ordinary", "right", 1.0, 1.0), CaseVerdict("zeros", "raised" if line else "wrong", 0.0, 1.0,
             message, hint, line), CaseVerdict("large", "wrong", 0.0, 1.0, "other", "Other hint."))
    return Verdict("normalize", 1.0, 3.0, "partial", cases, ("A note.",), 0.5, 250.0)


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"style", "title"} & set(self.open):
            self.text += data


def words(page: Page) -> str:
    return " ".join(page.text.split())


def test_what_was_right_what_went_wrong_first_where_and_the_hint():
    source = "def normalize(counts):\n    return counts / counts.sum(-1)\n"
    page = Page(feedback.page(submission(wrong("raised RuntimeError", line=2)), student="ada", title="Counting",
                              sources={"normalize": source}))
    for part in ("1 of 3", "zeros: raised RuntimeError", "2 return counts / counts.sum(-1)", "Hint. Keep the dim.",
                 "1 more case did not come out right", "large: other", "What was right ordinary", "A note.",
                 "Time: 0.50 s. Memory, torch included: 250 MB."):
        assert part in words(page), part


def test_everything_of_a_students_is_escaped_wherever_it_stands():
    evil = Verdict("normalize", 0.0, 3.0, "wrong", (CaseVerdict(EVIL, "raised", 0.0, 3.0, EVIL, EVIL, 1),), (EVIL,))
    quiz = {"score": 0, "total": 1, "complete": False, "remarks": [EVIL],
            "questions": [{"id": EVIL, "status": "wrong", "prompt": EVIL, "why": EVIL, "section": EVIL}]}
    html = feedback.page(submission(evil, quiz=quiz, remarks=[EVIL]), student=EVIL, shown=EVIL, title=EVIL,
                         sources={"normalize": EVIL}, remarks=[EVIL], record=Record(comments={"normalize": EVIL}))
    html.encode("utf-8")
    assert "\x1b" not in html
    assert "\u202e" not in html
    page = Page(html)
    assert not [tag for tag, _ in page.tags if tag in ("script", "img", "iframe", "object", "link")]
    assert page.text.count("<script>alert(1)</script>") >= 9


def test_nothing_is_asked_of_another_host_and_no_script_may_run():
    html = feedback.page(submission(wrong()), student="ada", url="https://example.org/chapters/toys.html")
    assert "default-src 'none'" in html
    assert not re.search(r"(?:src|srcset|data|action)=|@import|url\(", html.replace("default-src", ""))
    assert [a["href"] for tag, a in Page(html).tags if tag == "a" and a["href"].startswith("http")] == [
        "https://example.org/chapters/toys.html"]


def test_headings_tables_and_links_are_in_order():
    page = Page(feedback.page(submission(wrong(), remarks=["Cells were put back."]), student="ada"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in page.tags if tag == "a"} <= set(ids)
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    assert "caption" in {tag for tag, _ in page.tags}
    assert ("html", {"lang": "en"}) in page.tags


@pytest.mark.parametrize(("status", "says"), [
    ("unwritten", "The stub is as it was handed out."), ("missing", "hand it in again"),
    ("grader", "That is no fault of yours")])
def test_the_other_ways_to_have_no_points(status, says):
    page = Page(feedback.page(submission(Verdict("normalize", 0.0, 3.0, status)), student="ada"))
    assert says in words(page)


def test_a_persons_grade_and_words_come_first():
    standing = Standing(2.5, 3.0, 1.0, by_hand=True)
    record = Record({"check-normalize": standing}, {"normalize": "Good\nidea."}, penalty=0.5)
    page = Page(feedback.page(submission(wrong()), student="ada", record=record))
    assert "2 of 3 points, 0.5 taken off for handing in late" in words(page)
    assert "A person graded this one; the automatic grader had given 1." in words(page)
    assert "Good idea." in words(page)


@pytest.mark.parametrize(("name", "says"), [
    ("raised ModuleNotFoundError", "nothing else"), ("took too long", "a loop that does not end"),
    ("ended the process it ran in", "nothing in it may end Python")])
def test_advice_for_what_only_happens_when_graded(name, says):
    assert says in words(Page(feedback.page(submission(wrong(name, line=1)), student="ada")))


def test_the_quiz_says_what_to_read_again_and_no_answer():
    quiz = {"score": 7, "total": 10, "complete": False, "remarks": [], "questions": [
        {"id": "row-sum", "status": "wrong", "why": "Because rows sum to one.", "section": "x", "prompt": "?"},
        {"id": "zeros", "status": "unanswered", "why": "", "section": "x", "prompt": "?"}]}
    text = words(Page(feedback.page(submission(wrong(), quiz=quiz), student="ada")))
    assert "7 of 10 questions are right. 1 was not answered." in text
    assert "Look again at: row-sum." in text
    assert "rows sum to one" not in text


CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
                 if Path(p).exists()), None)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_in_a_browser_on_a_phone_and_in_the_dark(tmp_path):
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    quiz = {"score": 7, "total": 10, "complete": False, "remarks": [], "questions": []}
    long = wrong("raised RuntimeError", line=1)
    html = feedback.page(submission(long, Verdict("sample_sequence", 3.0, 3.0, "right", long.cases[:1]), Verdict(
        "kneser_ney", 0.0, 6.0, "unwritten"), quiz=quiz, remarks=["A cell was put back."]), student="ada",
        shown="Zoë O'Brien / Jr", sources={"normalize": "x = " + "1 + " * 60 + "1"})
    path = tmp_path / "page.html"
    path.write_text(html, "utf-8")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width, scheme in ((320, "light"), (1200, "dark")):
            size = {"width": width, "height": 700}
            context = browser.new_context(viewport=size, color_scheme=scheme, bypass_csp=True)
            page, asked = context.new_page(), []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert asked == [path.as_uri()]
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
        browser.close()

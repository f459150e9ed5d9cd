"""The quiz and the interactive figure, used as readers use them: keyboard, no script, no storage."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = "chapters/bigrams"
BANK = yaml.safe_load((ROOT / "chapters/quizzes/bigrams.yml").read_text(encoding="utf-8"))
BY_KIND = {question["type"]: question for question in reversed(BANK["questions"])}  # the first of each kind
pytestmark = pytest.mark.xdist_group("book")


def form(page, question):
    return page.locator(f'.quiz-question[data-question="{question["id"]}"]')


def right(question):
    return [option["id"] for option in question["options"] if option.get("correct")]


def wrong(question):
    return [option["id"] for option in question["options"] if not option.get("correct")]


def choose(page, question, ids):
    """Tick by keyboard alone."""
    boxes = form(page, question)
    for box in boxes.locator("input").all():
        if question["type"] == "multiple" and box.is_checked() != (box.get_attribute("value") in ids):
            box.focus()
            page.keyboard.press("Space")
    if question["type"] == "single":
        order = [option["id"] for option in question["options"]]
        boxes.locator("input").first.focus()
        page.keyboard.press("Space")
        for _ in range(order.index(ids[0])):
            page.keyboard.press("ArrowDown")


def answer(page, question):
    """Answer rightly and check, by keyboard alone."""
    if question["type"] == "numeric":
        form(page, question).locator("input").focus()
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.type(str(question["answer"]))
    else:
        choose(page, question, right(question))
    page.keyboard.press("Enter")


def verdict(page, question):
    return form(page, question).locator('.quiz-verdict[role="status"]').inner_text()


def test_single_choice_by_keyboard(tab):
    question = BY_KIND["single"]
    page = tab(formulas=False).open(CHAPTER)
    choose(page, question, wrong(question))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Check"
    page.keyboard.press("Enter")
    assert verdict(page, question) == "Not right yet."
    shown = form(page, question).locator(".quiz-why:visible")
    assert shown.count() == 1, "only the explanation of what was chosen"
    again = form(page, question).locator(".quiz-again a")
    assert again.is_visible()
    assert page.locator(again.get_attribute("href")).count() == 1
    answer(page, question)
    assert verdict(page, question) == "Right."
    assert form(page, question).locator(".quiz-why:visible").count() == len(question["options"])


def test_several_right_options_need_all(tab):
    question = BY_KIND["multiple"]
    page = tab(formulas=False).open(CHAPTER)
    choose(page, question, right(question)[:1])
    page.keyboard.press("Enter")
    assert "something is missing" in verdict(page, question) or len(right(question)) == 1
    choose(page, question, right(question) + wrong(question)[:1])
    page.keyboard.press("Enter")
    assert verdict(page, question) == "Not right yet."
    answer(page, question)
    assert verdict(page, question) == "Right."


def test_numbers_as_people_write_them(tab):
    question = BY_KIND["numeric"]
    page = tab(formulas=False).open(CHAPTER)
    field = form(page, question).locator("input")

    def say(text):
        field.fill(text)
        field.press("Enter")
        return verdict(page, question)

    assert "number" in say("about a half")
    assert say(str(question["answer"] + 10 * question["tolerance"] + 1)) == "Not right yet."
    assert say(str(question["answer"]).replace(".", ",")) == "Right."
    assert say(f"{question['answer'] * 100}%") == "Right."
    assert say(f"{question['answer'] * 4}/4") == "Right."
    assert say(f"{question['answer']}/0") != "Right."


def test_score_is_kept_and_reset(tab):
    one = tab(formulas=False)
    page = one.open(CHAPTER)
    score = page.locator('.quiz-score [role="status"]')
    first = BY_KIND["single"]
    choose(page, first, wrong(first))
    page.keyboard.press("Enter")
    for question in BANK["questions"]:
        answer(page, question)
        assert verdict(page, question) == "Right.", question["id"]
    total = len(BANK["questions"])
    told = f"{total} of {total} answered. Right at the first try: {total - 1}. Right by now: {total}."
    assert score.inner_text().startswith(told)
    assert "complete" in score.inner_text()
    page.reload()
    assert score.inner_text().startswith(told)
    page.locator(".quiz-reset").press("Enter")
    assert score.is_hidden()
    assert page.locator(".is-right, .is-wrong").count() == 0
    page.reload()
    assert score.is_hidden()


def test_complete_means_above_the_mark(tab):
    page = tab(formulas=False).open(CHAPTER)
    total = len(BANK["questions"])
    needed = next(n for n in range(total + 1) if n > BANK["pass_above"] * total)
    for count, question in enumerate(BANK["questions"][:needed], 1):
        assert page.locator(".quiz-score.is-complete").count() == 0, count
        answer(page, question)
    assert page.locator(".quiz-score.is-complete").count() == 1


def test_works_where_nothing_can_be_stored(tab):
    one = tab(formulas=False)
    one.page.add_init_script("Storage.prototype.setItem = () => { throw new Error('full') }")
    page = one.open(CHAPTER)
    answer(page, BANK["questions"][0])
    assert verdict(page, BANK["questions"][0]) == "Right."
    assert "stores nothing" in page.locator('.quiz-score [role="status"]').inner_text()


def test_reads_without_scripts(tab):
    page = tab(java_script_enabled=False).page
    page.goto(f"{tab().base}{CHAPTER}.html")
    for question in BANK["questions"]:
        here = form(page, question)
        assert here.locator(".quiz-prompt").is_visible()
        assert here.locator(".quiz-why").first.is_hidden()
        here.locator("summary").click()
        explained = 1 + len(question.get("wrong") or []) if question["type"] == "numeric" else len(question["options"])
        assert here.locator(".quiz-why:visible").count() == explained
        assert "Right:" in here.locator(".quiz-answers").inner_text()
    assert page.locator(".course-chart").count() >= 1
    for chart in page.locator(".course-chart").all():
        assert chart.locator(".course-chart-static svg").is_visible()


def test_every_question_is_a_named_group(tab):
    page = tab(formulas=False).open(CHAPTER)
    groups = page.get_by_role("group", name="Question ")
    assert groups.count() == len(BANK["questions"])
    for question in BANK["questions"]:
        for field in form(page, question).locator("input").all():
            assert field.evaluate("e => e.labels.length === 1 && e.labels[0].textContent.trim() !== ''")


def test_a_row_can_be_picked_and_drawn_from(tab):
    one = tab(formulas=False)
    page = one.open(CHAPTER)
    one.wake()
    chart = page.locator(".course-chart").first
    assert chart.locator(".course-chart-static").is_hidden()
    menu = chart.get_by_role("combobox")
    options = menu.locator("option").all_inner_texts()
    before = chart.locator(".course-chart-live svg").inner_html()
    menu.select_option(next(option for option in options if option != menu.input_value()))
    picture = chart.locator(".course-chart-live svg").element_handle()
    page.wait_for_function("([e, t]) => e.innerHTML !== t", arg=[picture, before])
    assert chart.get_by_role("slider").count() == 2
    assert one.outside == []

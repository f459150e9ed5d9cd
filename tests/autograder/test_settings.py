"""The course's facts come from _config.yml, _toc.yml and pyproject.toml, and a mistake there is named."""

from __future__ import annotations

import pytest
import small_book

from autograder import settings


def test_this_course_has_all_its_facts():
    facts = settings.load()
    assert (facts.owner, facts.repo) == ("next-token-course", "next-token-prediction")
    assert facts.stems[0] == "bigrams"
    assert facts.colab_url("bigrams").endswith(f"/{facts.repo}/blob/{facts.notebooks_branch}/bigrams.ipynb")
    assert facts.wheel_url == f"{facts.base_url}wheels/next_token_prediction-{facts.version}-py3-none-any.whl"
    assert facts.page_url("bigrams", "eq-mle") == f"{facts.base_url}chapters/bigrams.html#eq-mle"


def test_only_chapters_with_a_stub_are_stems(tmp_path):
    assert small_book.make(tmp_path / "book").stems == ("constructs",)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("url: https://github.com/", "url: https://gitlab.com/", "repository.url must be https://github.com/OWNER/REPO"),
        ("branch: main", "branch: ''", "repository.branch is missing or empty"),
        ("course_quiz_points: 0", "course_quiz_points: many", "course_quiz_points must be a number >= 0, not 'many'"),
        ("course_notebooks_branch: notebooks", "other: 1", "sphinx.config.course_notebooks_branch is missing"),
        ("parse:", "parse: [", "_config.yml is not valid YAML (line"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_entry(tmp_path, old, new, sentence):
    small_book.make(tmp_path / "book")
    path = tmp_path / "book" / "_config.yml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(settings.SettingsError) as error:
        settings.load(tmp_path / "book")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_book_says_so(tmp_path):
    with pytest.raises(settings.SettingsError, match=r"_config.yml cannot be read"):
        settings.load(tmp_path)

"""The course's own directives, exercises and quizzes, as Markdown: a :class:`Writer` that knows their nodes."""

from __future__ import annotations

from docutils import nodes

from autograder.markdown_inline import escape
from autograder.markdown_writer import Markdown, Quiz, Writer

DIFFICULTY = {1: "●○○ warm-up", 2: "●●○ standard", 3: "●●● hard"}


class CourseWriter(Writer):
    """Knows the nodes of ``chapters/_ext/exercise.py`` and ``quiz.py``; no answer of a quiz is among its Markdown."""

    def do_exercise_start(self, node):
        facts = [DIFFICULTY.get(node.get("difficulty"), "")]
        facts.append(f"about {node['minutes']} minutes" if node.get("minutes") else "")
        facts.append("stretch, outside the chapter's time" if node.get("stretch") else "")
        line = " · ".join(fact for fact in facts if fact)
        title = f"**Exercise {node['number']}: {escape(node['title'])}**"
        yield Markdown(f"---\n\n{title}" + (f"  \n{line}" if line else ""), heading=True)

    def do_exercise_end(self, node):
        yield Markdown("---")

    def do_quiz(self, node):
        questions = [child for child in node.children if child.__class__.__name__ == "quiz_question"]
        for child in questions:
            yield from self.do_quiz_question(child)
        yield Quiz(node["chapter"], tuple((c["question"], c["kind"], self.texts_of(c)) for c in questions))

    def texts_of(self, question: nodes.Element) -> dict[str, str]:
        """Every text of a question, also what is read after an answer, by name."""
        texts = {}
        for child in question.children:
            kind = child.__class__.__name__
            if kind == "quiz_prompt":
                texts["prompt"] = self.markdown(child)
            elif kind == "quiz_section":
                texts["section"] = child.astext()
            elif kind == "quiz_option":
                texts[f"option {child['option']}"] = self.inline(child)
            elif kind == "quiz_answer":
                texts[f"why {child['option']}".strip()] = self.markdown(child)
        return texts

    def do_quiz_question(self, node):
        asks = {"single": "one letter", "multiple": "every letter that is right", "numeric": "a number"}[node["kind"]]
        unit = f" in {node['unit']}" if node.get("unit") else ""
        text = [f"**Question {node['number']}** · `{node['question']}` · {asks}{unit}"]
        texts = self.texts_of(node)
        text.append(texts["prompt"])
        options = [f"- **{key[7:]}**: {option}" for key, option in texts.items() if key.startswith("option ")]
        yield Markdown("\n\n".join([*text, "\n".join(options)] if options else text), heading=True)

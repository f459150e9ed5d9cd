"""The folders beside this file hold answers, not tests: :mod:`answer_sheets` reads them."""

collect_ignore_glob = ["bigrams/*"]

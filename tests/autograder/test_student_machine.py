"""The student's side in a process of its own: torch and numpy only, in a notebook, in a terminal."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ONLY_TORCH = '''
import sys
ALLOWED = set(sys.stdlib_module_names) | {"torch", "torchgen", "numpy", "functorch", "autograder", "reference_impl",
                                          "typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "markupsafe",
                                          "filelock", "fsspec", "triton", "packaging", "cuda"}
class Gate:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"{name} is not on a student's machine")
sys.meta_path.insert(0, Gate())
from autograder import check, yours, check_quiz
from reference_impl import bigrams as ref
def normalize(counts):
    return counts / counts.sum(-1, keepdim=True)
check(normalize)
normalize = ref.normalize
check(normalize)
yours(ref.normalize)
check_quiz("bigrams", {})
print("modules", sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)))
'''


def test_torch_and_numpy_are_enough():
    done = subprocess.run([sys.executable, "-c", ONLY_TORCH], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "normalize: 3 of 4 cases right" in done.stdout
    assert "normalize: all 4 cases are right" in done.stdout
    for module in ("nbgrader", "IPython", "yaml", "jupytext", "matplotlib", "sphinx", "nbformat"):
        assert f"'{module}'" not in done.stdout.splitlines()[-1]


def test_a_notebook_shows_the_table_and_a_terminal_the_text():
    code = textwrap.dedent("""
        from IPython.core.interactiveshell import InteractiveShell
        from IPython.utils.capture import capture_output
        shell = InteractiveShell.instance()
        with capture_output() as shown:
            shell.run_cell("from autograder import check\\ndef normalize(c):\\n    return c")
            shell.run_cell("check(normalize)\\ncheck('additive')")
        for output in shown.outputs:
            print(sorted(output.data))
            print(output.data["text/plain"])
    """)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("['text/html', 'text/plain']") == 2
    assert "Nothing is called `additive` here yet" in done.stdout


@pytest.mark.parametrize("first", ["", "import autograder.check", "import autograder.check_cells"])
def test_check_can_be_called_whatever_was_imported_first(first):
    code = f"{first}\nfrom autograder import check\ndef normalize(c):\n    return c\ncheck('normalize')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "normalize: 0 of 4 cases right" in done.stdout, done.stderr

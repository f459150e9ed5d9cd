"""``python -m autograder.book``: the HTML book, built clean; a warning or a failing cell fails the build.

Jupyter Book exits 0 after a failing cell, and after a warning when it rebuilds only part, so every build starts from
nothing but the execution cache, whose key (``chapters/_ext/course.py``) holds the lock file and the course package.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What a rebuilt book depends on; --serve watches it.
SOURCES = ("*.md", "*.yml", "*.bib", "chapters/**/*", "solutions/*.md", "reference_impl/*.py", "autograder/**/*.py")
TROUBLE = re.compile(r"\b(WARNING|ERROR|CRITICAL|(Extension|Configuration) error|exception)\b|^\w*(Error|Exception)\b")
NOISE = re.compile(r"treated as errors|IPKernelApp|^\w+(\.\w+)*: *$")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class BookError(Exception):
    """The book could not be built: what to mend, for the one who builds it."""


def build(root: Path = ROOT, out: Path | None = None, clean: bool = True) -> Path:
    """Build the book in ``root`` and return its folder, ``OUT/_build/html``; raises BookError with what went wrong.

    ``clean=False`` rebuilds only what changed, for ``--serve``: quick, and not to be trusted with warnings.
    """
    target = (out or root) / "_build"
    if clean:
        for name in ("html", ".doctrees", "jupyter_execute"):
            shutil.rmtree(target / name, ignore_errors=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(root)]
    command += ["--path-output", str(target.parent), "--warningiserror", "--keep-going"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))  # extensions import autograder
    run = subprocess.run(command, cwd=root, env=os.environ | {"PYTHONPATH": path}, **pipes)
    log = COLOUR.sub("", run.stdout)
    target.mkdir(parents=True, exist_ok=True)
    (target / "book.log").write_text(log, encoding="utf-8")
    if run.returncode or not (target / "html" / "index.html").exists():
        said = target / "book.log"
        raise BookError(f"{trouble(log, root)}\nbook: not built; mend what is named above (all of it: {said}).")
    publish(target)
    return target / "html"


def trouble(log: str, root: Path) -> str:
    """The lines of Sphinx's output that say what is wrong, with paths from the root of the book.

    >>> print(trouble("reading\\n/b/chapters/x.md:3: WARNING: no such label\\ndone", Path("/b")))
    chapters/x.md:3: WARNING: no such label
    """
    lines = log.replace(f"{root}/", "").splitlines()
    found = list(dict.fromkeys(line for line in lines if TROUBLE.search(line) and not NOISE.search(line)))
    cell = [n for n, line in enumerate(lines) if "error occurred while executing the following cell" in line]
    if cell:
        where = [line for line in found if "Executing notebook failed" in line]
        found = where + lines[cell[0] : cell[0] + 40]
    return "\n".join(found[:40] or lines[-25:])


def publish(target: Path) -> None:
    """Put the notebooks and the wheel beside the pages, where their links and Colab's set-up cell expect them."""
    for folder, pattern in (("notebooks", "*.ipynb"), ("wheels", "*.whl")):
        files = sorted((target / folder).glob(pattern))
        if files:
            (target / "html" / folder).mkdir(exist_ok=True)
        for file in files:
            shutil.copyfile(file, target / "html" / folder / file.name)
    (target / "html" / ".nojekyll").touch()  # GitHub Pages would drop folders that begin with an underscore


def newest(root: Path = ROOT) -> float:
    """The time of the last change to anything that the book is made of, in seconds since 1970."""
    files = (path for pattern in SOURCES for path in root.glob(pattern) if path.is_file() and path.suffix != ".pyc")
    return max((path.stat().st_mtime for path in files), default=0.0)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that does not print every request."""

    def log_message(self, *unused: object) -> None:
        """Nothing."""


def serve(root: Path, port: int) -> None:
    """Show the book at a local port and rebuild it when a source changes, until interrupted."""
    handler = functools.partial(Quiet, directory=str(root / "_build" / "html"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"book: http://127.0.0.1:{server.server_port}/ (Ctrl-C ends)", flush=True)
    seen = newest(root)
    while True:
        time.sleep(1)
        if newest(root) > seen:
            seen = newest(root)
            attempt(root, root, clean=False)


def attempt(root: Path, out: Path, clean: bool = True) -> bool:
    """Build, and say in a line how it went; True when the book stands."""
    start = time.monotonic()
    try:
        html = build(root, out, clean)
    except BookError as error:
        print(error, file=sys.stderr, flush=True)
        return False
    print(f"book: {html / 'index.html'} ({time.monotonic() - start:.0f} s)", flush=True)
    return True


def main(argv: list[str] | None = None) -> int:
    """The exit code of ``python -m autograder.book``."""
    parser = argparse.ArgumentParser(prog="python -m autograder.book", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder with _config.yml (default: this checkout)")
    parser.add_argument("--out", type=Path, help="where _build is made (default: the root)")
    parser.add_argument("--serve", action="store_true", help="then show it on a local port and rebuild what changes")
    parser.add_argument("--port", type=int, default=8000, help="the port of --serve (default: 8000)")
    options = parser.parse_args(argv)
    root = options.root.resolve()
    if not (root / "_config.yml").is_file():
        print(f"book: there is no _config.yml in {root}; name the book's folder with --root.", file=sys.stderr)
        return 2
    built = attempt(root, (options.out or root).resolve())
    if not options.serve:
        return 0 if built else 1
    try:
        serve(root, options.port)
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print(f"book: port {options.port} cannot be used ({error.strerror}); choose one with --port.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m benchmarks``: runs every benchmark that is not long, prints a table, writes ``_build/bench.json``."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import provenance

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("grading", "building", "kneser_ney", "training_step", "decoding", "context")
LONG = ("ladder",)  # these run only when they are named


def main(argv: list[str]) -> int:
    """The exit code; every figure stands beside the peer it is compared with, measured in the same run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", choices=[[], *MODULES, *LONG],
                        help=f"which to run; when none is named, all but {', '.join(LONG)}")
    chosen = parser.parse_args(argv).only or MODULES
    found = {**provenance("python -m benchmarks " + " ".join(chosen)), "results": []}
    for name in chosen:
        found["results"] += importlib.import_module(f"benchmarks.{name}").run()
    table = Table(title=f"Measured here on {found['date'][:10]} ({found['machine']})")
    for column in ("what", "ours", "peer", "ratio"):
        table.add_column(column, overflow="fold")
    for row in found["results"]:
        table.add_row(row["what"], row["ours"], row["peer"], f"{row['ratio']:.1f} x")
    Console().print(table)
    target = ROOT / "_build" / "bench.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

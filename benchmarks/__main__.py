"""``python -m benchmarks``: runs every benchmark, prints a table, writes ``_build/bench.json``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("grading", "building")


def main(argv: list[str]) -> int:
    """The exit code; every figure stands beside the peer it is compared with, measured in the same run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", choices=[[], *MODULES], help="which to run; all when none is named")
    chosen = parser.parse_args(argv).only or MODULES
    import torch

    found = {
        "command": "python -m benchmarks " + " ".join(chosen),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "results": [],
    }
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

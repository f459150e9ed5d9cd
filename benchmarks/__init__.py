"""What the README claims about speed, as scripts anyone can run: ``make bench``."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime


def provenance(command: str) -> dict:
    """What stands beside every number that is kept: the command, the date, the machine and the versions."""
    import torch

    return {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }

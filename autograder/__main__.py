"""``python -m autograder COMMAND``: the commands that an instructor and a contributor type."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "notebooks": ("autograder.notebooks", "turn every chapter into its source and release notebook"),
    "intake": ("autograder.intake", "bring uploads into nbgrader's layout"),
    "grade": ("autograder.grade", "grade a class"),
    "check": ("autograder.check_file", "check one notebook, as its student would see it"),
}


def main(argv: list[str]) -> int:
    """The exit code of the command that ``argv`` names."""
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: python -m autograder COMMAND [...]\n")
        print("\n".join(f"  {name:<10} {what}" for name, (_, what) in COMMANDS.items()))
        print("\n'python -m autograder COMMAND --help' lists a command's options.")
        return 0 if argv else 2
    if argv[0] not in COMMANDS:
        print(f"autograder: there is no command '{argv[0]}'; the commands are {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    module, _ = COMMANDS[argv[0]]
    try:
        return importlib.import_module(module).main(argv[1:])
    except KeyboardInterrupt:
        print("autograder: interrupted; run the same command again to go on.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""nbgrader's configuration: run its commands in this folder (``nbgrader autograde bigrams`` and the like).

What each part does stands in ``autograder/nbgrader_parts.py`` and ``autograder/release.py``. A class's due dates, late
penalties or another database are set below, as nbgrader's own documentation describes.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if HERE.parent.name == "autograder" and str(HERE.parents[1]) not in sys.path:
    sys.path.insert(0, str(HERE.parents[1]))  # the course's own package: nbgrader starts in this folder

if "get_config" in globals():  # given by nbgrader, and by nobody else who reads this file
    from autograder import nbgrader_parts, release, settings

    c = get_config()  # noqa: F821
    release.configure(c)
    nbgrader_parts.configure(c, HERE, settings.load().stems)

"""JupyterLab in a machine that is nobody's yet: imported, not begun, until it hears whose it is.

Its environment comes as JSON on its standard input; until then nothing is opened or written.
"""

import json
import os
import sys

import jupyterlab_server.app  # type: ignore[import-not-found]  # noqa: F401  (LabApp asks for it)
from jupyterlab.labapp import LabApp  # type: ignore[import-not-found]

told = json.load(sys.stdin)
os.environ.clear()
os.environ.update(told)
os.chdir(told["HOME"])
LabApp.launch_instance()

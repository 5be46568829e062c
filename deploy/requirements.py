"""Print what pyproject.toml asks for, named extras included: an image installs it before our code.

python3 requirements.py [EXTRA...] > requirements.txt
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text())["project"]
extras = [project["optional-dependencies"][name] for name in sys.argv[1:]]
print("\n".join(project["dependencies"] + [line for extra in extras for line in extra]))

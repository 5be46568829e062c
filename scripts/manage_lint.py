"""Django's commands for checks that touch no data: settings of their own, a throw-away folder."""

import os
import sys
import tempfile
from pathlib import Path

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    with tempfile.TemporaryDirectory(prefix="athanor-lint-") as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "studio.settings",
            "STUDIO_SECRET_KEY": "only-for-checks",
            "STUDIO_DATA_DIR": folder,
        }
        execute_from_command_line(sys.argv)

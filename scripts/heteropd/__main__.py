"""``python -m heteropd``: the same as the ``heteropd`` command."""

import sys

from heteropd.cli.main import main

sys.exit(main())

"""``python -m lightning_robust``: the same as the ``lightning-robust`` command."""

import sys

from lightning_robust.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m ctlctl`, and the entry point of the script."""

import sys

from ctlctl import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())

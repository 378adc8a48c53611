"""python -m dpkit: the command line, dpkit.cli."""

import sys

from dpkit.cli import main

if __name__ == "__main__":
    sys.exit(main())

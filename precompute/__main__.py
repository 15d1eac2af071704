"""`python -m precompute <verb>`."""

import sys

from precompute.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

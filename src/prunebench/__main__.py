"""``python -m prunebench``: the command line."""

import os
import sys

# Before anything else is imported: the working folder comes after installed packages and hides none of them.
if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
    sys.path.append(sys.path.pop(0))

from prunebench.harness.cli import main

if __name__ == "__main__":
    main()

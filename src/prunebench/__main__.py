"""``python -m prunebench``: the command line."""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
    sys.path.append(sys.path.pop(0))  # the working folder comes after installed packages and hides none of them

from prunebench.harness.cli import main

main()

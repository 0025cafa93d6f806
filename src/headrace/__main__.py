"""`python -m headrace` is the command line."""

import sys

from headrace.cli.main import main

sys.exit(main())

"""`python -m sarlab` is the command line."""

from sarlab.cli import main

raise SystemExit(main())

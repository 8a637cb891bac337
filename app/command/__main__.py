"""Lets `python -m deeptracker.app.command` do what `deeptracker` does."""

import sys

from deeptracker.app.command import main

sys.exit(main())

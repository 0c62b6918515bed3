import sys

from towers.cli import main

sys.exit(main())

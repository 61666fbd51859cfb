"""`python -m api.console`: serves the console as the settings say."""

import sys

from api.console.main import main

if __name__ == "__main__":
    sys.exit(main())

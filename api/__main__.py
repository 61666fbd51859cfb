"""`python -m api`: serves the API as the settings say."""

import sys

from api.main import main

if __name__ == "__main__":
    sys.exit(main())

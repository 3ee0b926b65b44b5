"""`python -m napari_mtm` is the command line."""

import sys

from napari_mtm.cli import main

if __name__ == "__main__":
    sys.exit(main())

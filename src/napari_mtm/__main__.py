"""The program: `napari-mtm`, or `python -m napari_mtm`."""

import sys


def main() -> int:
    """Run the command line and return its exit code, also where Ctrl-C comes while it is loaded."""
    try:
        from napari_mtm.cli import main as run

        return run()
    except KeyboardInterrupt:
        print("napari-mtm: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

"""The page of the package on an index: the README, with its links to the project's address.

Hatchling runs this when it builds. In the repository the README's links are relative.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE = re.compile(r"(!\[[^\]]*)?\]\((?![a-z]+:|#)([^)\s]+)\)")
"""The end of a link, or a whole picture, and where it points to in the repository."""


class PackagePage(MetadataHookInterface):
    """Makes the readme of the package out of README.md and of `project.urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the readme to the metadata."""
        source: str = metadata["urls"]["Source"]

        def absolute(found: re.Match[str]) -> str:
            picture, target = found.groups()
            return f"{picture or ''}]({source}/{'raw' if picture else 'blob'}/HEAD/{target})"

        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        page = _RELATIVE.sub(absolute, text)
        metadata["readme"] = {"content-type": "text/markdown", "text": page}

"""Reading tables that are rich text."""

import re


def cells(text: str) -> list[list[str]]:
    """Words of each cell, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    return [[re.sub("<.*?>", "", c) for c in re.findall(r"<td.*?>(.*?)</td>", r)] for r in rows]

"""Rich text in rows and columns."""

from collections.abc import Iterable


def table(rows: Iterable[Iterable[str]]) -> str:
    """Return rich text of cells; the last of a row that is shorter than others is as wide as they.

    None of them is broken into lines.
    """
    rows = [tuple(row) for row in rows]
    width = max(map(len, rows), default=0)
    return f"<table cellspacing='0'>{''.join(_row(row, width) for row in rows)}</table>"


def _row(cells: tuple[str, ...], width: int) -> str:
    style = "padding-right: 8px; white-space: nowrap"
    spans = [1] * (len(cells) - 1) + [width - len(cells) + 1]
    written = (
        f'<td colspan="{span}" style="{style}">{cell}</td>'
        for cell, span in zip(cells, spans, strict=True)
    )
    return f"<tr>{''.join(written)}</tr>"

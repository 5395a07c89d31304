"""Foreign text in tables that spreadsheets open: no cell of it is taken for a formula.

All text that is not ulmo's own, such as the name of a recording, goes through here before it goes
into CSV or a table with tabs.
"""

import re

# What a spreadsheet computes, in ASCII or as wide letters, also after white space, which an import
# may remove; tabs and ends of lines may begin a new cell.
_FORMULA = re.compile(r"\s*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]|[\t\r\n]")
# Separators of CSV in any country, and what ends a line: such a cell is quoted.
_QUOTED = re.compile(r'[,;|\t"\r\n]')


def csv_cell(text: str) -> str:
    """A text as a cell of CSV.

    A text that would be a formula gets an apostrophe before it, and so does one that begins with an
    apostrophe: removing one apostrophe from the start of a cell gives the true text.

    >>> csv_cell("=x.wav"), csv_cell("'x.wav"), csv_cell("x, y.wav")
    ("'=x.wav", "''x.wav", '"x, y.wav"')
    """
    if text.startswith("'") or _FORMULA.match(text):
        text = f"'{text}"
    return '"{}"'.format(text.replace('"', '""')) if _QUOTED.search(text) else text


def path_cell(path: str) -> str:
    """A path as a cell of a table with tabs, from which programs open the file.

    A path that would be a formula gets `./` before it, which leads to the same file; an apostrophe
    would not. What cannot be printed becomes `?`.

    >>> path_cell("=x.wav"), path_cell("a/=x.wav")
    ('./=x.wav', 'a/=x.wav')
    """
    path = "".join(each if each.isprintable() else "?" for each in path)
    return f"./{path}" if _FORMULA.match(path) else path

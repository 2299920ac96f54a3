"""Make the manual pages in `packaging/man/` from the pages of the reference.

`python docs/manpages.py` writes them; with `--check` it only says which are out of date.
"""

import sys
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, whatever is installed

from roff import manual

from ctld.version import VERSION

HERE: Final = Path(__file__).parent
FOLDER: Final = HERE.parent / "packaging" / "man"


class Page(NamedTuple):
    """A manual page, and the page of the reference that it is made from."""

    name: str
    section: int
    summary: str
    source: str


PAGES: Final = (
    Page("ctlctl", 1, "ask a control daemon to run commands", "ctlctl.md"),
    Page("ctld.toml", 5, "configuration of the control daemon ctld", "configuration.md"),
    Page("ctld", 8, "a control daemon", "ctld.md"),
)


def main(arguments: list[str]) -> int:
    stale = []
    FOLDER.mkdir(exist_ok=True)
    for page in PAGES:
        text = (HERE / "reference" / page.source).read_text()
        fresh = manual(page.name, page.section, page.summary, f"ctld {VERSION}", text)
        path = FOLDER / f"{page.name}.{page.section}"
        if not path.exists() or path.read_text() != fresh:
            stale.append(path.name)
            if "--check" not in arguments:
                path.write_text(fresh)
    if stale and "--check" in arguments:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run python docs/manpages.py\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""Make what is installed beside the code: manual pages and completions, in `packaging/`.

`python docs/packaged.py` writes them; with `--check` it only says which are out of date.
"""

import sys
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, whatever is installed

from roff import manual

from ctlctl.completion import script
from ctld.version import VERSION

HERE: Final = Path(__file__).parent
FOLDER: Final = HERE.parent / "packaging"


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


COMPLETIONS: Final = {"bash": "ctlctl.bash", "zsh": "_ctlctl", "fish": "ctlctl.fish"}


def files() -> dict[str, str]:
    """Return what the files have to contain, by their path in the folder."""
    found = {}
    for page in PAGES:
        text = (HERE / "reference" / page.source).read_text()
        made = manual(page.name, page.section, page.summary, f"ctld {VERSION}", text)
        found[f"man/{page.name}.{page.section}"] = made
    for shell, name in COMPLETIONS.items():
        found[f"completions/{name}"] = f"{script(shell, 'ctlctl').rstrip()}\n"
    return found


def main(arguments: list[str]) -> int:
    stale = []
    for name, fresh in files().items():
        path = FOLDER / name
        if not path.exists() or path.read_text() != fresh:
            stale.append(name)
            if "--check" not in arguments:
                path.parent.mkdir(exist_ok=True)
                path.write_text(fresh)
    if stale and "--check" in arguments:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run python docs/packaged.py\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

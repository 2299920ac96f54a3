"""Draw the badges of the README from what the project's own files say, so that they are true.

`python docs/badges.py` draws them; with `--check` it only says which are out of date.
"""

import sys
import tomllib
from html import escape
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
IMAGES: Final = ROOT / "docs" / "images"
_CHARACTER: Final = 6.8  # of the width of a character, at this size
_PADDING: Final = 12
_PYTHON: Final = "Programming Language :: Python :: "


def claims(project: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return what the badges say, by their name: a label, and what holds."""
    about, tools = project["project"], project["tool"]
    versions = [name.removeprefix(_PYTHON) for name in about["classifiers"] if name.startswith(_PYTHON)]
    assert tools["mypy"]["strict"], "the badge says so"
    return {
        "python": ("Python", f"{versions[0]} to {versions[-1]}"),
        "license": ("licence", about["license"]),
        "coverage": ("branch coverage", f"at least {tools['coverage']['report']['fail_under']} %"),
        "types": ("types", "mypy --strict"),
    }


def badge(label: str, value: str) -> str:
    left, right = (round(len(text) * _CHARACTER + _PADDING) for text in (label, value))
    width = left + right
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" '
        f'aria-label="{escape(label)}: {escape(value)}">\n'
        f'<rect width="{width}" height="20" rx="3" fill="#4b5563"/>\n'
        f'<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right - 3}z" fill="#1d6fa5"/>\n'
        '<g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11" text-anchor="middle">\n'
        f'<text x="{left / 2}" y="14">{escape(label)}</text>\n'
        f'<text x="{left + right / 2}" y="14">{escape(value)}</text>\n</g>\n</svg>\n'
    )


def main(arguments: list[str]) -> int:
    stale = []
    for name, claim in claims(tomllib.loads((ROOT / "pyproject.toml").read_text())).items():
        path = IMAGES / f"{name}.svg"
        fresh = badge(*claim)
        if not path.exists() or path.read_text() != fresh:
            stale.append(path.name)
            if "--check" not in arguments:
                path.write_text(fresh)
    if stale and "--check" in arguments:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run python docs/badges.py\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""Put a run into the documentation: its page, its plots, and the table of the README.

What is written by hand stays: only what stands between two markers is made anew.
"""

import re
from pathlib import Path

from benchmarks import markdown, plots
from benchmarks.processes import ROOT
from benchmarks.report import Run, to_json

__all__ = ["PAGE", "README", "RESULTS", "between", "publish", "rendered"]

PAGE = Path("docs/explanation/benchmarks.md")
README = Path("README.md")
RESULTS = Path("docs/explanation/benchmarks.json")
PLOTS = Path("docs/explanation")


def publish(run: Run, root: Path = ROOT) -> None:
    """Write everything that shows a run."""
    for path, text in rendered(run, root).items():
        (root / path).write_text(text)
        print(f"written: {path}")


def rendered(run: Run, root: Path = ROOT) -> dict[Path, str]:
    """Return what the files that show a run have to hold."""
    pictures = plots.plots(run.rows)
    page = between((root / PAGE).read_text(), "goals", markdown.goals(run))
    page = between(page, "profile", markdown.profile(run))
    page = between(page, "results", markdown.results(run, pictures))
    return {
        RESULTS: to_json(run),
        PAGE: page,
        README: between((root / README).read_text(), "peers", markdown.peers(run)),
        **{PLOTS / name: picture.svg for name, picture in pictures.items()},
    }


def between(text: str, name: str, new: str) -> str:
    """Replace what stands between the two markers of a name.

    Raises:
        ValueError: The text does not have them.
    """
    begin, end = f"<!-- benchmarks: {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"({re.escape(begin)}\n).*?(\n{re.escape(end)})", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"there is no place for {name}")
    return pattern.sub(lambda match: f"{match[1]}\n{new.strip()}\n{match[2]}", text)

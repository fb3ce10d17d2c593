"""Links between pages lead to files and headings that there are."""

import re
from pathlib import Path

import pytest

from tests.docs.commands import ROOT

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors(page: Path) -> set[str]:
    """The anchors of its headings, as Markdown's usual readers make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), f"{page.name} links to {path}, which is not there"
        assert not anchor or anchor in anchors(to), f"{page.name} links to {path}#{anchor}, which is no heading"


def test_every_page_is_found_from_the_readme() -> None:
    found, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in found or page.suffix != ".md" or not page.is_relative_to(ROOT):
            continue
        found.add(page)
        ahead += [(page.parent / path).resolve() for path, _ in LINK.findall(page.read_text(encoding="utf-8")) if path]
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in found] == []

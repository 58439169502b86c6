"""Code blocks of Markdown pages, for tests that run them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "examples" / "README.md"],
)
"""Every page of the documentation."""

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands (``line`` is its first line of code), its language and its text."""

    path: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """Where it stands, for people."""
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def blocks(path: Path, language: str) -> Iterator[Block]:
    """The blocks of a page that are marked with this language, in order."""
    text = path.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        if match[1] == language:
            yield Block(path, text.count("\n", 0, match.start(2)) + 1, language, match[2])


def the_block(page: str, language: str) -> str:
    """The only block of this language on a page."""
    (block,) = blocks(ROOT / page, language)
    return block.text

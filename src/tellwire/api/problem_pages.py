"""The pages that the ``type`` of each problem leads to: ``/problems/conflict``, for people, open to everybody.

What they say is docs/reference/problems.md, which comes along in the package. No key is asked for: whoever gets a 401
is to be able to read why.
"""

import re
from functools import cache
from html import escape
from importlib.resources import files
from typing import Final

from fastapi import FastAPI, Response

from .problems import DOCS, KINDS, NOT_FOUND, Kind, RefusedError

_ELSEWHERE: Final = "https://github.com/tellwire/tellwire/blob/main/docs/reference/"
_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_LINK: Final = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_CODE: Final = re.compile(r"`([^`]+)`")
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
<footer><p><a href="{root}">All problems</a> of the Tellwire API.</p></footer>
</body>
</html>
"""


def add_problem_pages(app: FastAPI) -> None:
    """Give ``app`` a page for each type of problem, and a list of them."""
    app.add_api_route(DOCS, _list, include_in_schema=False)
    app.add_api_route(f"{DOCS}/{{name}}", _page, include_in_schema=False)


def section(name: str) -> str:
    """What docs/reference/problems.md says of one type, as Markdown. Raises KeyError."""
    return _sections()[name]


async def _list() -> Response:
    rows = "\n".join(
        f'<li><a href="{DOCS}/{kind.name}">{kind.status} {kind.name}</a>: {escape(kind.title)}</li>'
        for kind in KINDS
    )
    return _html("Problems", f"<ul>\n{rows}\n</ul>")


async def _page(name: str) -> Response:
    kind = next((one for one in KINDS if one.name == name), None)
    if kind is None:
        raise RefusedError(NOT_FOUND, "there is no such type of problem")
    return _html(f"{kind.status} {kind.name}", _content(kind))


def _html(title: str, content: str) -> Response:
    page = _PAGE.format(title=escape(title), content=content, root=DOCS)
    headers = {
        "content-security-policy": _POLICY,
        "referrer-policy": "no-referrer",
        "cache-control": "max-age=3600",
    }
    return Response(page, media_type="text/html", headers=headers)


@cache
def _sections() -> dict[str, str]:
    text = files("tellwire.api").joinpath("problems.md").read_text(encoding="utf-8")
    return {
        name: body.strip() for name, _, body in (part.partition("\n") for part in text.split("\n## ")[1:])
    }


@cache
def _content(kind: Kind) -> str:
    paragraphs = section(kind.name).removeprefix(f"{kind.status}. ").split("\n\n")
    return "\n".join([f"<p><strong>{escape(kind.title)}.</strong></p>", *map(_paragraph, paragraphs)])


def _paragraph(text: str) -> str:
    """A paragraph of our own Markdown, which has code and links and nothing else."""
    shown = _CODE.sub(r"<code>\1</code>", escape(text))
    return f"<p>{_LINK.sub(_anchor, shown)}</p>"


def _anchor(link: re.Match[str]) -> str:
    return f'<a href="{_target(link[2])}">{link[1]}</a>'


def _target(link: str) -> str:
    return f"{DOCS}/{link[1:]}" if link.startswith("#") else _ELSEWHERE + link

"""The reference leaves nothing out: what the code has, a page has; what a page links to is there."""

import re
from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import msgspec
import pytest
from tests.docs.blocks import PAGES, ROOT

import tellwire
from docs import generate
from tellwire import errors, telemetry
from tellwire.api.problems import KINDS, Kind
from tellwire.api.publish import BATCH, EVENTS
from tellwire.api.routes import ROUTES
from tellwire.model.attempt import AttemptError
from tellwire.model.delivery import TRANSITIONS
from tellwire.model.endpoint_settings import SETTING_NAMES
from tellwire.model.limits import Limits
from tellwire.policy.retry import RetrySchedule

REFERENCE = ROOT / "docs" / "reference"
EXPLANATION = ROOT / "docs" / "explanation"

# DESIGN's words and verbs: whoever adds one there adds it to the glossary.
WORDS = (
    "Tenant", "Event type", "Event", "Endpoint", "Subscription", "Delivery", "Attempt", "Source", "Lane",
    "publish", "fan out", "claim", "send", "record", "retry", "rescue", "replay", "prune",
)  # fmt: skip

FACTS = [
    value
    for value in vars(telemetry).values()
    if isinstance(value, type) and issubclass(value, telemetry.Fact) and value is not telemetry.Fact
]
ERRORS = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.TellwireError)
]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def read(name: str) -> str:
    """A page of the reference."""
    return (REFERENCE / name).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """What stands under a heading."""
    _, found, rest = page.partition(f"\n## {heading}\n")
    assert found, heading
    return rest.partition("\n## ")[0]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-").strip("`")
        for heading in _HEADING.findall(text)
    }


def links() -> Iterator[tuple[Path, str]]:
    """Every link inside the repository, with the page that it stands on."""
    for page in PAGES:
        for target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
            if not re.match(r"[a-z]+:", target):
                yield page, target


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_problem_has_its_anchor(kind: Kind) -> None:
    """The type URI of each problem leads to a section that begins with its status."""
    assert section(read("problems.md"), kind.name).strip().startswith(f"{kind.status}. ")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_error_has_its_row(error: type[errors.TellwireError]) -> None:
    """Each error stands in the tree and in the table, with the fields that it carries."""
    page = read("errors.md")
    row = next(line for line in page.splitlines() if line.startswith(f"| `{error.__name__}` |"))

    assert re.search(rf"^ .*{error.__name__}$", page, re.MULTILINE)
    own = list(signature(error).parameters) if "__init__" in vars(error) else []
    assert all(f"`{field}`" in row for field in own)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
def test_fact_has_its_section(fact: type[telemetry.Fact]) -> None:
    """Each fact has a section, with a row for each of its fields and no other."""
    rows = re.findall(r"^\| `(\w+)` \|", section(read("telemetry.md"), fact.__name__), re.MULTILINE)

    assert rows == [field.name for field in msgspec.structs.fields(fact)]


@pytest.mark.parametrize("name", tellwire.__all__)
def test_public_name_is_described(name: str) -> None:
    """Each public name stands on the page of Python."""
    assert re.search(rf"(^## |`){name}\b", read("python.md"), re.MULTILINE)


def test_limits_are_complete() -> None:
    """The table has each limit with its default, and no other."""
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", read("limits.md"), re.MULTILINE)

    assert {name: int(value.replace(",", "")) for name, value in rows} == msgspec.structs.asdict(Limits())


def test_routes_are_complete() -> None:
    """The table has each route with its scope, and no other."""
    rows = re.findall(r"^\| `(\w+) (/\S+)` \| `?(\w+)`? \|", read("http-api.md"), re.MULTILINE)
    real = {(route.method, route.path, str(route.scope or "none")) for route in ROUTES}

    assert set(rows) == real | {("POST", EVENTS, "publish"), ("POST", BATCH, "publish")}


@pytest.mark.parametrize("error", AttemptError)
def test_attempt_error_is_explained(error: AttemptError) -> None:
    """Each class of error that an attempt records stands with its meaning."""
    assert re.search(rf"^\| `{error}` \| \w", read("payload.md"), re.MULTILINE)


def test_retry_schedule_is_the_default() -> None:
    """The page names the delays that are the default."""
    delays = [f"{ms // 1000} s" if ms < 60_000 else f"{ms // 60_000} min" if ms < 3_600_000 else f"{ms // 3_600_000} h"
              for ms in RetrySchedule().delays_ms]  # fmt: skip
    *first, last = delays

    assert f"{', '.join(first)} and {last}" in " ".join(read("payload.md").split())


def test_transitions_are_complete() -> None:
    """The table of the states is the table of the code."""
    page = (EXPLANATION / "delivery-states.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|$", page, re.MULTILINE)

    assert rows == [(str(before), str(move), str(after)) for (before, move), after in TRANSITIONS.items()]


@pytest.mark.parametrize("word", WORDS)
def test_word_is_in_the_glossary(word: str) -> None:
    """Each word of the field has its row."""
    assert re.search(rf"^\| \*\*{word}\*\* \| \w", read("glossary.md"), re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "target"), list(links()), ids=lambda it: it if isinstance(it, str) else it.name
)
def test_link_resolves(page: Path, target: str) -> None:
    """A link leads to a file of the repository, and to a heading that is there."""
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page

    assert file.is_relative_to(ROOT)
    assert file.exists()
    assert not anchor or anchor in anchors(file)


def test_every_page_can_be_reached() -> None:
    """Each page of the documentation is linked from another; each decision is at least named in their list."""
    linked = {(page.parent / target.partition("#")[0]).resolve() for page, target in links()}
    decisions = (ROOT / "docs" / "adr" / "README.md").read_text()

    for page in (ROOT / "docs").rglob("*.md"):
        assert page in linked or page.name in decisions, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_says_something(page: Path) -> None:
    """A page has a title and, below it, text."""
    title, _, rest = page.read_text(encoding="utf-8").partition("\n")

    assert title.startswith("# ")
    assert len(rest) > 200


def test_the_changelog_tells_of_what_is_not_released() -> None:
    """The version that is being written has its section in the changelog, with entries."""
    page = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert "dev" in tellwire.__version__
    assert section(page, "[Unreleased]").count("\n- ") > 0


def test_files_that_are_named_exist() -> None:
    """The files that explanations and decisions name are there."""
    source = ROOT / "src" / "tellwire"
    for page in [*EXPLANATION.glob("*.md"), *(ROOT / "docs" / "adr").glob("*.md"), ROOT / "SECURITY.md"]:
        for name in re.findall(r"`((?:\w+/)*\w+\.py)`", page.read_text(encoding="utf-8")):
            assert (source / name).exists() or (ROOT / name).exists(), f"{page.name}: {name}"


@pytest.mark.parametrize("name", generate.PAGES)
def test_generated_page_is_current(name: str) -> None:
    """``make docs`` would change nothing."""
    assert read(name) == generate.PAGES[name]()


def test_every_setting_of_an_endpoint_is_listed() -> None:
    """The page has each of them once, and no other."""
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \|", read("endpoint-settings.md"), re.MULTILINE)
    assert sorted(rows) == sorted(SETTING_NAMES)

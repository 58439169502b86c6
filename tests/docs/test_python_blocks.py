"""Every Python block of the documentation is a program that runs, or says in its first line why it does not."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.blocks import PAGES, ROOT, Block, blocks
from tests.docs.receiver import receiver
from tests.forked import outside, run
from tests.zygote import IMPORTED

BLOCKS = [block for page in PAGES for block in blocks(page, "python")]
RUNNABLE = [block for block in BLOCKS if not block.text.startswith("# not run")]


@pytest.mark.parametrize(
    "block",
    [pytest.param(block, id=block.name) for block in RUNNABLE],
)
def test_block_runs(block: Block, tmp_path: Path) -> None:
    """A block marked python runs as a program of its own, in an empty directory, without a warning."""
    with receiver() as (port, requests):
        text = block.text.replace("127.0.0.1:9000", f"127.0.0.1:{port}")
        done = run(text, cwd=tmp_path, env=outside(), strict=True, timeout_s=60)

        assert done.returncode == 0, done.stderr
        if "127.0.0.1:9000" in block.text:
            assert b'"type":"order.paid"' in requests.get(timeout=10).body


def test_what_programs_import_warns_of_nothing() -> None:
    """Blocks run where all of Tellwire is imported already; here that is done without a warning."""
    imports = "; ".join(f"import {name}" for name in IMPORTED)
    subprocess.run([sys.executable, "-W", "error", "-c", imports], env=outside(), check=True)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_block_that_does_not_run_says_why(block: Block) -> None:
    """A block that is not run begins with the reason; every block is at least Python."""
    first = block.text.partition("\n")[0]

    assert not first.startswith("# not run") or len(first) > len("# not run: ")
    compile(block.text, block.name, "exec")


def test_app_on_the_page_is_the_example() -> None:
    """The FastAPI app that the how-to shows is the file in examples, which the tests run."""
    example = (ROOT / "examples" / "fastapi_app.py").read_text()

    assert f"```python\n{example}```\n" in (ROOT / "docs" / "how-to" / "embed-in-your-app.md").read_text()


def test_parts_of_examples_are_parts_of_them() -> None:
    """A block that says of which example it is a part stands there word for word."""
    found = 0
    for block in BLOCKS:
        first, _, rest = block.text.partition("\n")
        if first.startswith("# not run: part of "):
            found += 1
            assert rest in (ROOT / first.removeprefix("# not run: part of ")).read_text(), block.name
    assert found


def test_readme_example_is_short() -> None:
    """The example in the README is read at a glance."""
    first = next(blocks(ROOT / "README.md", "python"))

    assert len([line for line in first.text.splitlines() if line.strip()]) <= 20

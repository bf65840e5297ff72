"""The pages hold: their code runs and prints what they say, and what they name exists."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import tenuto
from tenuto import OnlineLearnerConfig, SessionConfig, drift, errors, methods
from tenuto.cli.shared.exits import Exit
from tenuto.cli.shared.program import program
from tenuto.cli.shared.verbs import Verbs
from tenuto.parts import find, names
from tenuto.store import schema

ROOT = Path(__file__).parents[2]
GUIDE = sorted((ROOT / "docs" / "guide").glob("*.md"))
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
MACHINE = re.compile(r"(?<![\w.:/)*~-])/\w[\w.-]*/\w")
"""An absolute path, as no page should know."""


class Block(NamedTuple):
    """A fenced block of a page: its language, its text, its line, and what the page says it prints."""

    language: str
    text: str
    line: int
    printed: str | None


def blocks(page: str) -> list[Block]:
    """The fenced blocks in order; a block of `text` right after another is what that one prints."""
    found: list[Block] = []
    end = -1
    for match in FENCE.finditer(page):
        language, text = match.groups()
        if language == "text" and match.start() == end + 1:
            found[-1] = found[-1]._replace(printed=text)
        else:
            found.append(Block(language, text, page.count("\n", 0, match.start()) + 2, None))
        end = match.end()
    return found


def run(page: Path, folder: Path, *, shell: bool) -> int:
    """Run the blocks of a page one after the other, Python in one namespace; how many were run."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    done = 0
    for block in blocks(page.read_text()):
        if block.language == "python":
            printed = io.StringIO()
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            with contextlib.redirect_stdout(printed):
                exec(code, namespace)
            told = printed.getvalue()
        elif block.language == "sh" and shell:
            told = command(block.text, folder)
        else:
            continue
        done += 1
        if block.printed is not None:
            assert told == block.printed, f"{page.name}, line {block.line}"
    return done


def command(text: str, folder: Path) -> str:
    """What a shell block prints; it must end well."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", text],
        cwd=folder,
        env=os.environ | {"PATH": path, "NO_COLOR": "1", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{text}\n{ran.stdout}{ran.stderr}"
    return ran.stdout


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_the_guide_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(page, tmp_path, shell=True)


@pytest.mark.parametrize("page", [p for p in PAGES if p not in GUIDE], ids=lambda page: page.stem)
def test_the_code_of_other_pages_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = sum(block.language == "python" for block in blocks(page.read_text()))
    assert run(page, tmp_path, shell=False) == wanted


def verbs(group: click.Command = program) -> dict[str, click.Command]:
    """Every verb of the command line, and the verbs under it, as "bench papers"."""
    if not isinstance(group, Verbs):
        return {}
    context = click.Context(group)
    own = {name: group.get_command(context, name) for name in group.list_commands(context)}
    under = {f"{name} {inner}": verb for name in own for inner, verb in verbs(own[name]).items()}
    return own | under


def flags(command: click.Command) -> set[str]:
    """What a verb takes."""
    own = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}
    return {flag for flag in own if flag.startswith("--")} | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_verb_and_flag_exists(page: Path) -> None:
    known, text = verbs(), page.read_text()
    everywhere = {flag for command in known.values() for flag in flags(command)} | {"--version"}
    lines = [line for block in blocks(text) if block.language == "sh" for line in block.text.splitlines()]
    lines += re.findall(r"`(tenuto [^`]*)`", FENCE.sub("", text))
    for line in lines:
        for called in re.findall(r"(?:^|[|;&(]\s*)tenuto (.*?)(?=[|;&>]|$)", line):
            words = called.split()
            assert words, f"{page.name}: {line}"
            if words[0].startswith("-"):
                continue
            assert words[0] in known, f"{page.name} names the verb {words[0]!r}"
            verb = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
            unknown = set(FLAG.findall(called)) - flags(known[verb])
            assert not unknown, f"{page.name}: tenuto {verb} takes no {sorted(unknown)}"
    unknown = set(re.findall(r"`(--[a-z][a-z-]*)", FENCE.sub("", text))) - everywhere
    assert not unknown, f"{page.name} names {sorted(unknown)}, which no verb takes"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if "://" in target or target.startswith("#"):
            continue
        path, _, anchor = target.partition("#")
        assert (page.parent / path).exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(page.parent / path), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, *SCRIPTS], ids=lambda page: str(page.relative_to(ROOT)))
def test_no_path_of_a_machine(page: Path) -> None:
    assert not MACHINE.findall(page.read_text())


def code(page: str) -> set[str]:
    """The words a page of the guide sets as code."""
    text = FENCE.sub("", (ROOT / "docs" / page).read_text())
    return {word for span in re.findall(r"`([^`]+)`", text) for word in re.findall(r"[\w.+-]+", span)}


def test_every_setting_is_told() -> None:
    assert {field.name for field in fields(OnlineLearnerConfig)} <= code("guide/2-learner.md")
    assert {field.name for field in fields(SessionConfig)} <= code("guide/3-sessions.md")


def test_every_method_policy_and_guard_is_told() -> None:
    parts = names("tenuto.memory.insertion") + names("tenuto.memory.sampling") + names("tenuto.guards")
    told = code("guide/2-learner.md")
    assert {*methods.known(), *parts} <= told
    for name in methods.known():
        recipe = find("tenuto.methods", "method", name).recipe
        assert set(inspect.signature(recipe).parameters) <= told, f"an option of {name} is not told"


def test_every_detector_and_its_options_are_told() -> None:
    told = code("guide/9-drift.md")
    for name in drift.known():
        assert {name, *drift.options(name)} <= told, f"an option of {name} is not told"


def test_every_verb_and_exit_code_is_told() -> None:
    told = code("guide/7-command-line.md")
    assert {word for name in verbs() for word in name.split()} <= told
    assert {str(exit.value) for exit in Exit} <= told


def test_every_flag_is_told() -> None:
    text = (ROOT / "docs" / "guide" / "7-command-line.md").read_text()
    for name, verb in verbs().items():
        missing = flags(verb) - set(FLAG.findall(text))
        assert not missing, f"the guide does not tell {sorted(missing)} of {name}"


def test_every_public_name_and_error_is_told() -> None:
    told = set().union(*(code(str(page.relative_to(ROOT / "docs"))) for page in GUIDE))
    told |= {word for page in GUIDE for word in re.findall(r"\w+", page.read_text())}
    assert set(tenuto.__all__) <= told
    raised = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert raised - told == set()


@pytest.mark.parametrize("statement", [schema.INGEST, schema.STATE], ids=["ingest.db", "state.db"])
def test_every_table_and_column_is_told(statement: str) -> None:
    told = code("reference/store-format.md")
    tables = re.findall(r"CREATE TABLE (\w+)\((.*?)\)(?: WITHOUT ROWID)?;", statement, re.DOTALL)
    assert tables
    for table, columns in tables:
        assert table in told
        for column in re.findall(r"(?:^|,)\s*([a-z]\w*) [A-Z]", columns):
            assert column in told, f"{table}.{column}"


def test_decisions_are_numbered_and_have_their_three_parts() -> None:
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    for page in DECISIONS:
        text = page.read_text()
        assert re.match(rf"# {page.name[:4]}: \S", text), page.name
        headings = re.findall(r"^## (\w+)$", text, re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences"], page.name


def test_the_changelog_tells_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[{re.escape(tenuto.__version__)}\]", text, re.MULTILINE)


def test_a_page_that_lies_is_caught(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)\n```\n```text\n3\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md, line 2"):
        run(page, tmp_path, shell=False)
    page.write_text("```sh\nfalse\n```\n")
    with pytest.raises(AssertionError, match="false"):
        run(page, tmp_path, shell=True)
    assert MACHINE.search("see `/a/b`")
    assert not MACHINE.search("a file at docs/a/b, ../a/b or https://a.org/b/c")

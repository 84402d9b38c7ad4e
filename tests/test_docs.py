"""The documentation is true: what is generated is up to date, and every command, target and link in it exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from xds_server.catalogue import CATALOGUE, Code
from xds_server.cli.main import COMMANDS, cli

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
DIAGNOSTICS = ROOT / "docs" / "diagnostics.md"
FAMILIES = {
    "1": "Reading and schema",
    "2": "References",
    "3": "Conflicts and shadowing",
    "4": "Routing semantics",
    "5": "TLS and secrets",
    "6": "Security",
    "7": "Rejected by Envoy",
    "8": "Scale",
}
INTRODUCTION = """# Diagnostics

Every finding of `xds-server lint`, of `translate` and of the server's log has one of these codes. A number is never
used again for something else. In the messages, `{...}` stands for what was found. The last column names the codes of
Istio's analyzers (IST) and of Kiali (KIA) for the same mistake. `make docs` writes this page from
`xds_server/catalogue.py`.
"""
HEADING = "| code | level | message | effect | also |\n|---|---|---|---|---|"

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def generated() -> str:
    sections = [INTRODUCTION]
    for digit, title in FAMILIES.items():
        codes = {name: code for name, code in sorted(CATALOGUE.items()) if name[3] == digit}
        if codes:
            rows = "\n".join(_row(name, code) for name, code in codes.items())
            sections.append(
                f"## {title}\n\n| code | level | message | effect | also |\n|---|---|---|---|---|\n{rows}\n"
            )
    return "\n".join((*sections, _twins()))


def _twins() -> str:
    """From the codes that users of Istio and Kiali know to ours."""
    ours: dict[str, list[str]] = {}
    for name, code in sorted(CATALOGUE.items()):
        for twin in code.twins:
            ours.setdefault(twin, []).append(f"[{name}](#{name.lower()})")
    rows = "\n".join(f"| {twin} | {', '.join(found)} |" for twin, found in sorted(ours.items()))
    return f"## Codes of Istio and Kiali\n\n| theirs | ours |\n|---|---|\n{rows}\n"


def _row(name: str, code: Code) -> str:
    cells = (f'<a id="{name.lower()}"></a>{name}', code.level, f"`{code.template}`", code.effect, ", ".join(code.twins))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def test_the_page_of_diagnostics_is_what_the_catalogue_says(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-docs"):
        DIAGNOSTICS.write_text(generated(), encoding="utf-8")
    assert DIAGNOSTICS.read_text(encoding="utf-8") == generated(), "`make docs` rewrites it"


def test_every_code_belongs_to_a_family() -> None:
    assert {name[3] for name in CATALOGUE} <= FAMILIES.keys()


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def commands_in(page: Path) -> list[list[str]]:
    """Every command of `xds-server` in a shell block, without the environment, pipes and paths around it."""
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = [re.search(r"(?:^|[/ ])xds-server( [^|>&#]*)", line) for line in lines if not line.startswith("#")]
    return [shlex.split(match[1]) for match in found if match]


@each_page
def test_commands_and_their_options_exist(page: Path) -> None:
    for name, *arguments in commands_in(page):
        assert name in COMMANDS, f"xds-server {name}"
        command = cli.get_command(click.Context(cli), name)
        assert command
        known = {option for parameter in command.get_params(click.Context(command)) for option in parameter.opts}
        known |= {option for parameter in command.params for option in parameter.secondary_opts}
        given = {argument.partition("=")[0] for argument in arguments if re.match(r"--?[a-z]", argument)}
        assert given <= known | {"--help"}, f"xds-server {name}"


@each_page
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE)) <= targets


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command
    assert command.help
    undocumented = [
        parameter.name
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help and parameter.name not in SELF_EXPLAINING
    ]
    assert undocumented == []


@pytest.mark.parametrize(
    ("page", "folder", "files"), [("examples/envoy/README.md", "examples/envoy", 6), ("docs/docker-compose.md", ".", 4)]
)
def test_the_bootstraps_are_what_their_page_says(page: str, folder: str, files: int) -> None:
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("xds-server bootstrap")]
    assert len(commands) == files
    for _, *arguments, _, file in commands:
        printed = CliRunner().invoke(cli, arguments, catch_exceptions=False).stdout
        assert printed == (ROOT / folder / file).read_text(encoding="utf-8"), file


SELF_EXPLAINING = {"output", "role"}

"""The house as a whole: names, import budget, dependencies, locks, make's targets, sizes of files."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import riverrun

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

#: never imported by `from riverrun import flow, task`
HEAVY = {
    "alembic", "asyncio", "click", "cloudpickle", "concurrent.futures", "fsspec", "httpx", "pydantic", "rich", "sqlalchemy",
    "ssl", "tomlkit",
}  # fmt: skip
MODULES_ALLOWED = 220
LINES_ALLOWED = 600


@pytest.mark.parametrize("name", sorted(riverrun.__all__))
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(riverrun, name) is not None
    assert name in dir(riverrun)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        riverrun.no_such_name  # noqa: B018


def modules_with_names() -> list[str]:
    source = ROOT / "src"
    listing = [path for path in (source / "riverrun").rglob("*.py") if "__all__ =" in path.read_text(encoding="utf-8")]
    return sorted(
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__") for path in listing
    )


@pytest.mark.parametrize("name", modules_with_names())
def test_declared_names_exist(name: str) -> None:
    """Whatever a module lists in __all__ is there."""
    module = import_module(name)
    assert [each for each in module.__all__ if not hasattr(module, each)] == []


def test_import_is_light() -> None:
    """The budget of `from riverrun import flow, task`, counted in a process of its own."""
    script = (
        "from riverrun import flow, task\nimport sys\nnames = list(sys.modules)\nimport json\nprint(json.dumps(names))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = set(json.loads(done.stdout))
    assert not modules & HEAVY
    assert len(modules) <= MODULES_ALLOWED


def test_import_does_nothing_to_the_disk(tmp_path: Path) -> None:
    home = tmp_path / "home"
    environment = {**os.environ, "RIVERRUN_HOME": str(home)}
    subprocess.run([sys.executable, "-c", "from riverrun import flow, task"], env=environment, check=True)
    assert not home.exists()


def requirements() -> list[str]:
    project = PROJECT["project"]
    groups = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
    ]
    return [*PROJECT["build-system"]["requires"], *(requirement for group in groups for requirement in group)]


@pytest.mark.parametrize("requirement", requirements())
def test_every_dependency_has_both_bounds(requirement: str) -> None:
    assert ">=" in requirement
    assert re.search(r"<\d", requirement)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_locks_hash_everything_and_name_no_host(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert "index-url" not in text
    entries = re.split(r"\n(?=[a-z0-9])", text)
    pinned = [entry for entry in entries if re.match(r"[a-z0-9._-]+(\[.*\])?==", entry)]
    assert pinned
    assert [entry.splitlines()[0] for entry in pinned if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("requirement", requirements())
def test_locks_hold_every_dependency(requirement: str) -> None:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name
    locked = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    assert re.search(rf"^{re.escape(name[0].lower())}==", locked, re.MULTILINE)


def make_targets() -> list[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return re.findall(r"^([a-z][a-z-]*):.*## ", makefile, re.MULTILINE)


@pytest.mark.parametrize("target", make_targets())
def test_every_make_target_is_documented(target: str) -> None:
    pages = (ROOT / "README.md").read_text(encoding="utf-8") + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"make {target}" in pages


def test_what_the_pages_tell_to_make_can_be_made() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == set(make_targets())
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        told = re.findall(r"`make ((?:[a-z][a-z-]*(?= |`) ?)+)", page.read_text(encoding="utf-8"))
        assert {word for words in told for word in words.split()} <= set(make_targets())


def pages() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_hold(page: Path) -> None:
    """Relative links and the paths of this repository named in backticks exist."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("folder", ["src", "tests", "bench", "examples", "scripts"])
def test_files_can_be_read_in_one_sitting(folder: str) -> None:
    """300 lines are aimed at, 500 are a reason to split, more than 600 fail. Revisions of the tables are written once."""
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / folder).rglob("*.py")
        if path.parent.name != "versions"
    }
    for name, lines in sorted(sizes.items(), key=lambda item: -item[1]):
        if lines > 500:
            print(f"{name}: {lines} lines, a reason to split")
    assert {name: lines for name, lines in sizes.items() if lines > LINES_ALLOWED} == {}


def test_no_path_or_host_of_a_machine_is_committed() -> None:
    """What works on one machine only is not in the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    folders = [("work", "main"), ("work", "shared"), ("opt", "peer")]
    words = ["".join(f"/{part}" for part in folder) for folder in folders] + ["files.python" + "hosted"]
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".lock", ".txt", ""} and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            assert [word for word in words if word in text] == [], name

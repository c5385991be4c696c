"""Publishing: the workflow, the edition in the footer, the copies for Colab."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from packaging.specifiers import SpecifierSet

from book.tools import colab, edition, links, stills
from book.tools.browser import MISSING, find_chromium
from book.tools.build import build_book, stage_book
from book.tools.edition import ROOT, Edition, read_edition
from geo4d_lite import __version__

WORKFLOW = ROOT / ".github" / "workflows" / "book.yml"
PUBLIC = Edition(__version__, 40 * "c", repository="https://github.com/someone/geo4d-lite")


@pytest.fixture(scope="module")
def workflow() -> dict:
    """The workflow; YAML reads its key `on` as True."""
    return yaml.safe_load(WORKFLOW.read_text())


def steps_of(workflow: dict) -> list[dict]:
    """Every step of every job."""
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_the_workflow_calls_only_make_targets_and_tools_that_exist(workflow):
    commands = "\n".join(step.get("run", "") for step in steps_of(workflow))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", commands))
    assert {"test", "html"} <= named <= targets
    tools = re.findall(r"-m ([\w.]+)", commands)
    assert "book.tools.colab" in tools
    assert [tool for tool in tools if not (ROOT / (tool.replace(".", "/") + ".py")).is_file()] == []


def test_the_workflow_runs_on_a_python_the_package_allows_and_conda_uses(workflow):
    set_ups = [step for step in steps_of(workflow) if "setup-python" in step.get("uses", "")]
    versions = {str(step["with"]["python-version"]) for step in set_ups}
    allowed = SpecifierSet(re.search(r'requires-python = "(.+)"', (ROOT / "pyproject.toml").read_text())[1])
    assert len(versions) == 1 and versions <= set(allowed.filter(versions))
    assert f"python={versions.pop()}" in (ROOT / "environment.yml").read_text()


def test_the_workflow_uses_official_actions_at_a_pinned_version_and_caches_pip(workflow):
    used = [step["uses"] for step in steps_of(workflow) if "uses" in step]
    assert [action for action in used if not re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", action)] == []
    pythons = [step for step in steps_of(workflow) if step.get("uses", "").startswith("actions/setup-python@")]
    assert all(step["with"]["cache"] == "pip" for step in pythons) and pythons
    assert all(step["with"]["cache-dependency-path"] == "requirements.txt" for step in pythons)


def test_the_workflow_asks_for_no_more_rights_than_each_job_needs(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    rights = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
    assert rights == {"deploy": {"pages": "write", "id-token": "write"}, "colab": {"contents": "write"}}


def test_only_what_passed_the_tests_on_the_main_branch_is_deployed(workflow):
    triggers = workflow[True]
    assert "workflow_dispatch" in triggers and triggers["push"]["branches"] == ["main"] and "pull_request" in triggers
    jobs = workflow["jobs"]
    assert set(jobs["deploy"]["needs"]) == set(jobs["colab"]["needs"]) == {"test", "build"}
    assert all("refs/heads/main" in jobs[name]["if"] for name in ("deploy", "colab"))
    assert workflow["concurrency"]["group"] and workflow["concurrency"]["cancel-in-progress"] is not True


def test_the_repositorys_address_is_written_nowhere_but_passed_in(workflow):
    assert workflow["env"]["GEO4D_REPOSITORY"] == "${{ github.server_url }}/${{ github.repository }}"
    assert [step for step in steps_of(workflow) if "GEO4D_REPOSITORY" in step.get("env", {})] == []


def test_every_page_is_signed_with_the_packages_version_and_this_commit(built, edition_before):
    commit, checked = edition_before.commit[:10] or "unknown", 0
    for path in (*(built / "book").glob("*.html"), *(built / "notebooks").glob("*.html")):
        line = BeautifulSoup(path.read_text(), "html.parser").select_one(".bd-footer-content .edition").text
        assert line.startswith(f"geo4d-lite {__version__}, commit {commit}"), path.name
        checked += 1
    assert checked > 25


def test_below_a_chapters_first_cell_stands_which_version_and_commit_its_outputs_are_of(built):
    if not edition.stored_at(ROOT / "Makefile"):
        pytest.skip("not a git working tree with its history")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        page = BeautifulSoup((built / "notebooks" / f"{path.stem}.html").read_text(), "html.parser")
        line, cell = page.select_one("article p.edition"), page.select_one("article div.cell")
        commit = edition.git(ROOT, "log", "-1", "--format=%H", "--", str(path))[:10]
        assert line.text.startswith(f"Outputs of this chapter: geo4d-lite {__version__}, stored at commit {commit}")
        assert line.find_previous("div", class_="cell") == cell, path.name


def test_the_commit_that_stored_a_file_is_gits_own_and_unknown_without_history(tmp_path):
    git = ["git", "-C", tmp_path / "whole", *AUTHOR]
    subprocess.run(["git", "init", "-q", tmp_path / "whole"], check=True)
    for name in ("page.md", "other.md"):
        (tmp_path / "whole" / name).write_text("first")
        subprocess.run([*git, "add", name], check=True)
        subprocess.run([*git, "commit", "-qm", name], check=True)
    first = edition.git(tmp_path / "whole", "rev-parse", "HEAD~1")[:10]
    assert edition.stored_at(tmp_path / "whole" / "page.md", tmp_path / "whole") == f"commit {first}"
    (tmp_path / "whole" / "page.md").write_text("second")
    assert edition.stored_at(tmp_path / "whole" / "page.md", tmp_path / "whole").endswith(" with later changes")
    origin = (tmp_path / "whole").as_uri()
    subprocess.run(["git", "clone", "-q", "--depth", "1", origin, tmp_path / "shallow"], check=True)
    assert edition.stored_at(tmp_path / "shallow" / "page.md", tmp_path / "shallow") == ""
    assert edition.stored_at(tmp_path / "page.md", tmp_path) == ""


def test_the_workflow_builds_with_the_history_that_the_pages_name(workflow):
    checkout = workflow["jobs"]["build"]["steps"][0]
    assert checkout["uses"].startswith("actions/checkout@") and checkout["with"]["fetch-depth"] == 0


def test_outside_git_the_commit_is_unknown_and_a_repository_further_up_does_not_count(tmp_path):
    assert str(read_edition(tmp_path)) == f"geo4d-lite {__version__}, commit unknown"
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "unpacked").mkdir()
    assert read_edition(tmp_path / "unpacked").commit == ""


def test_the_commit_is_gits_own_and_later_changes_are_told(tmp_path):
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.example"]
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "page.md").write_text("first")
    subprocess.run([*git, "add", "page.md"], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert read_edition(tmp_path) == Edition(__version__, head)
    (tmp_path / "page.md").write_text("second")
    assert str(read_edition(tmp_path)).endswith(f"{head[:10]} with later changes")


def test_an_address_that_colab_cannot_open_is_refused(monkeypatch):
    monkeypatch.setenv("GEO4D_REPOSITORY", "git@example.org:someone/book")
    with pytest.raises(ValueError, match="expected https://github.com/OWNER/NAME"):
        read_edition()
    monkeypatch.setenv("GEO4D_REPOSITORY", "https://github.com/someone/book.git/")
    assert read_edition().repository == "https://github.com/someone/book"


def test_without_an_address_there_is_no_colab_button_and_the_notebook_is_still_handed_out(built):
    for path in (built / "notebooks").glob("*.html"):
        page = BeautifulSoup(path.read_text(), "html.parser")
        assert page.select(".btn-open-colab") == []
        button = page.select_one("a.btn-download-notebook")
        assert button["download"] == f"{path.stem}.ipynb"
        handed_out = nbformat.read(path.parent / button["href"], as_version=4)
        assert handed_out == nbformat.read(ROOT / "notebooks" / f"{path.stem}.ipynb", as_version=4)


def test_with_an_address_every_chapter_opens_in_colab(tmp_path, monkeypatch):
    """In a book of one page and one notebook."""
    monkeypatch.setenv("GEO4D_REPOSITORY", PUBLIC.repository)
    stage_book(tmp_path)
    (tmp_path / "book" / "index.md").write_text("# Front\n")
    toc = {"format": "jb-book", "root": "book/index", "chapters": [{"file": "notebooks/01_one"}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# One")])
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks" / "01_one.ipynb")
    built = build_book(tmp_path, quiet=True).parents[1]
    page = BeautifulSoup((built / "notebooks" / "01_one.html").read_text(), "html.parser")
    assert page.select_one("a.btn-open-colab")["href"] == colab.colab_address(read_edition(), "01_one")
    assert page.select_one("a.btn-download-notebook")["download"] == "01_one.ipynb"


def test_with_an_address_the_button_leads_to_the_copy_that_the_workflow_pushes(workflow):
    address = colab.colab_address(PUBLIC, "02_pointmap_projection")
    assert address.endswith("/github/someone/geo4d-lite/blob/colab/02_pointmap_projection.ipynb")
    assert colab.colab_address(Edition(__version__, "", repository=PUBLIC.repository), "x") == ""
    commands = "\n".join(step.get("run", "") for step in workflow["jobs"]["colab"]["steps"])
    assert re.search(rf"git push .*HEAD:{colab.BRANCH}$", commands, re.MULTILINE)


def test_a_colab_copy_installs_this_edition_first_and_changes_no_cell(tmp_path):
    written = colab.write_copies(tmp_path / "copies", PUBLIC)
    assert [path.name for path in written] == [path.name for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    for path in written:
        copy, chapter = (nbformat.read(at / path.name, as_version=4) for at in (path.parent, ROOT / "notebooks"))
        nbformat.validate(copy)
        added = [cell for cell in copy.cells if cell.id in ("colab-words", colab.SETUP_TAG)]
        assert [cell.source for cell in copy.cells if cell not in added] == [cell.source for cell in chapter.cells]
        first = next(cell for cell in copy.cells if cell.cell_type == "code")
        assert PUBLIC.commit in first.source and PUBLIC.repository in first.source and __version__ in added[0].source
        assert not any(cell.get("outputs") for cell in copy.cells)


def test_the_set_up_cell_fetches_and_installs_the_pinned_commit(tmp_path):
    """Its shell lines run here against a local repository whose tip has moved on; the index and apt are left out."""
    source, folder = tmp_path / "public", tmp_path / "geo4d-lite"
    make_public_copy(source)
    pinned = edition.git(source, "rev-parse", "HEAD")
    (source / "geo4d_lite" / "__init__.py").write_text('__version__ = "99.0.0"\n')
    subprocess.run(["git", "-C", source, *AUTHOR, "commit", "-qam", "later"], check=True)
    cell = colab.CELL.format(repository=source, commit=pinned).replace("/content/geo4d-lite", str(folder))
    for name, value in {"repository": source, "folder": folder, "commit": pinned}.items():
        cell = cell.replace("{" + name + "}", str(value))
    lines = [line.strip() for line in cell.splitlines()]
    clone = next(line[1:] for line in lines if line.startswith("!git clone"))
    subprocess.run(clone, shell=True, check=True)
    install = next(line for line in lines if line.startswith("%pip install")).split()[2:]
    offline = ["--no-deps", "--no-build-isolation", "--target", str(tmp_path / "site")]
    packages = [word for word in install if word not in ("--constraint", f"{folder}/requirements.txt")]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, *packages], check=True)
    program = "import geo4d_lite; print(geo4d_lite.__version__, geo4d_lite.__file__)"
    environ = {"PYTHONPATH": str(tmp_path / "site")}
    run = subprocess.run([sys.executable, "-c", program], env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert run.stdout.startswith(f"{__version__} {tmp_path / 'site'}"), run.stderr
    assert (folder / "notebooks").is_dir() and (folder / "requirements.txt").is_file()


AUTHOR = ("-c", "user.name=a", "-c", "user.email=a@b.example")


def make_public_copy(target: Path) -> None:
    """A small git repository with what the set-up cell needs of this one."""
    for name in ("geo4d_lite", "notebooks"):
        ignore = shutil.ignore_patterns("__pycache__", "weights", "viewers", "*.ipynb")
        shutil.copytree(ROOT / name, target / name, ignore=ignore)
    (target / "notebooks" / "README").write_text("chapters")
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.txt"):
        shutil.copy2(ROOT / name, target)
    for words in (["init", "-q"], ["add", "."], [*AUTHOR, "commit", "-qm", "pinned"]):
        subprocess.run(["git", "-C", target, *words], check=True)


def test_external_links_are_listed_with_the_pages_that_name_them(built):
    found = links.external_links(built)
    assert any("arxiv.org/abs/2507.01099" in address for address in found)
    assert all(pages and address.startswith(("http://", "https://")) for address, pages in found.items())


@pytest.mark.skipif(find_chromium() is None, reason=MISSING)
def test_the_pdf_has_every_page_of_the_book_set_and_numbered(built, tmp_path):
    from book.tools import pdf

    target = tmp_path / "book.pdf"
    source = pdf.write_source(built, tmp_path / "book.html")
    text = source.read_text()
    assert "<iframe" not in text and "bd-sidebar" not in text
    printed = {Path(image["src"]).stem for image in BeautifulSoup(text, "html.parser").find_all("img")}
    assert set(stills.embedded_pages()) <= printed, "a turnable figure or a lab is printed as its still"
    pdf.print_book(source, target)
    data = target.read_bytes()
    assert data.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", data)) > 60

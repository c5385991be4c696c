"""What is handed out holds no secret, follows the term, and is nbgrader's own format."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from course_submissions import PUBLIC, blank, cell_named, reference

from book.tools.course import release, sources
from book.tools.course.mutants import changed
from book.tools.course.sources import ASSIGNMENTS, CourseError

REGION = re.compile("### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END", re.DOTALL)
SECRET = re.compile("SOLUTION|HIDDEN TESTS|HIDDEN_SEED|Marking")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The zip of a release."""
    return release.release(tmp_path_factory.mktemp("release"), "autumn", PUBLIC)


def released(bundle) -> dict[str, str]:
    """Name -> text of everything in the zip."""
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_the_zip_holds_the_four_notebooks_and_a_word_of_welcome(bundle):
    expected = {f"geo4d_assignments/{name}.ipynb" for name in ASSIGNMENTS} | {"geo4d_assignments/README.txt"}
    assert set(released(bundle)) == expected
    assert {path.name for path in bundle.parent.iterdir()} == {name.split("/")[1] for name in expected} | {bundle.name}


def test_no_line_of_a_solution_and_no_hidden_test_is_handed_out(bundle):
    texts = released(bundle)
    for name in ASSIGNMENTS:
        text = texts[f"geo4d_assignments/{name}.ipynb"]
        assert not SECRET.search(text)
        code = "\n".join(cell["source"] for cell in nbformat.reads(text, as_version=4).cells)
        instructors = "\n".join(cell.source for cell in reference(name, "autumn").cells)
        public = REGION.sub("", instructors)
        secrets = {line.strip() for region in REGION.findall(instructors) for line in region.splitlines()}
        alone = [line for line in secrets if len(line) > 30 and line not in public]
        assert len(alone) > 20 and not [line for line in alone if line in code]


def test_the_same_word_gives_the_same_bytes_and_another_word_another_variant(bundle, tmp_path):
    again = release.release(tmp_path / "again", "autumn", PUBLIC)
    assert again.read_bytes() == bundle.read_bytes()
    other = released(release.release(tmp_path / "other", "spring", PUBLIC))
    assert all(other[name] != text for name, text in released(bundle).items() if name.endswith(".ipynb"))


def test_hidden_tests_of_two_terms_draw_other_numbers():
    seeds = {
        term: re.findall(r"HIDDEN_SEED = (\d+)", cell_named(reference(ASSIGNMENTS[0], term), "hidden_verdicts").source)
        for term in ("", "autumn", "spring")
    }
    assert seeds[""] == ["0"] and len({tuple(found) for found in seeds.values()}) == 3


def test_a_forgotten_end_marker_stops_the_release():
    broken = changed(reference(ASSIGNMENTS[0]), "calibration", "    ### END SOLUTION", "")
    with pytest.raises(CourseError):
        release.student_version(broken)


def test_a_private_folder_takes_the_place_of_the_public_one(tmp_path):
    with pytest.raises(CourseError, match="GEO4D_INSTRUCTOR"):
        sources.source_folder({"GEO4D_INSTRUCTOR": str(tmp_path)})
    for name in ASSIGNMENTS:
        (tmp_path / f"{name}.ipynb").write_text("{}")
    assert sources.source_folder({"GEO4D_INSTRUCTOR": str(tmp_path)}) == tmp_path.resolve()
    assert sources.source_folder({}) == PUBLIC


def test_nothing_of_the_assignments_is_in_the_package_or_in_the_book():
    toc = (sources.ROOT / "_toc.yml").read_text()
    assert "assignments" not in toc
    package = [path.read_text(errors="ignore") for path in (sources.ROOT / "geo4d_lite").rglob("*.py")]
    assert not [text for text in package if "book.tools" in text or "BEGIN SOLUTION" in text]


def test_instructors_notebooks_are_stored_without_outputs():
    for name in ASSIGNMENTS:
        cells = json.loads((PUBLIC / f"{name}.ipynb").read_text())["cells"]
        assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.slow
def test_nbgrader_itself_releases_and_grades_the_same(tmp_path):
    """One full cycle with nbgrader's own programs: instructors may use them instead of ours."""
    name = ASSIGNMENTS[1]
    notebooks = {"source": reference(name), "submitted/ada": reference(name), "submitted/blank": blank(name)}
    for folder, notebook in notebooks.items():
        path = tmp_path / folder / name / f"{name}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
    program = f"""
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from traitlets.config import Config
config = Config()
config.CourseDirectory.root = {str(tmp_path)!r}
api = NbGraderAPI(config=config)
assert api.generate_assignment({name!r}, create=True)["success"]
for student in ("ada", "blank"):
    assert api.autograde({name!r}, student, create=True)["success"]
with Gradebook("sqlite:///" + {str(tmp_path)!r} + "/gradebook.db") as gradebook:
    print(*(gradebook.find_submission({name!r}, student).score for student in ("ada", "blank")))
"""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # nbgrader calls alembic by name
    environ = os.environ | {"PATH": path}
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.split()[-2:] == ["18.0", "0.0"]
    theirs = nbformat.read(tmp_path / "release" / name / f"{name}.ipynb", as_version=4)
    assert [cell.source for cell in theirs.cells] == [cell.source for cell in blank(name).cells]

# geo4d-lite: a book that runs. `make book` and `make test` need only Python (3.11, on macOS 3.13) and make; `make help` lists the rest.

# Drake's wheels for macOS begin with Python 3.13; the stored outputs were made with 3.11.
PYTHONS := $(if $(filter Darwin,$(shell uname -s)),python3.13 python3.14,python3.11 python3.12 python3.13 python3.14) python3
PYTHON ?= $(firstword $(foreach name,$(PYTHONS),$(shell command -v $(name) 2>/dev/null)) $(firstword $(PYTHONS)))
TORCH ?=
JOBS ?= 2
BIN := .venv/bin
TERM_WORD ?=
OUT ?= runs/course

.PHONY: help setup book html pdf lab test refresh reproduce release-assignments rehearse-course grading-table grade lock clean

help:
	@echo "make book       set up, run every chapter on this machine, build the book from those runs"
	@echo "make test       unit tests, every notebook against its stored outputs, strict build of the book"
	@echo "make html       build the book from the stored outputs, running nothing"
	@echo "make pdf        print the book into _build/pdf (needs Chromium or Chrome)"
	@echo "make lab        open the notebooks in JupyterLab"
	@echo "make refresh    run the chapters and store their outputs (ONLY=03 for one)"
	@echo "make reproduce  data, training, results and tables of its own, in runs/reproduce (days)"
	@echo "make release-assignments  the students' notebooks and a zip (TERM_WORD=… chooses the term's variant)"
	@echo "make grade SUBMISSIONS=…  grade a folder that holds one folder for each student (TERM_WORD=… as released)"
	@echo "make rehearse-course  release, collect and grade a made-up class of 30, and compare with the points it must get"
	@echo "make grading-table  what the reference, a blank notebook and every listed mistake must lose, and what they lost"
	@echo "make lock       write requirements.txt from the packages now in .venv"
	@echo "make clean      delete what was built; data, trained models and .venv stay"
	@echo "TORCH=cpu or TORCH=cu130 chooses PyTorch's own wheels of that kind; PYTHON=… another Python; JOBS=… chapters at a time"

setup:
	@command -v $(PYTHON) >/dev/null || { echo "set-up: $(PYTHON) is missing (Debian, Ubuntu: sudo apt-get install python3 python3-venv)"; exit 1; }
	@$(PYTHON) book/tools/bootstrap.py $(if $(TORCH),--torch $(TORCH))

book: setup
	@$(BIN)/python -m book.tools.run_notebooks --live --jobs $(JOBS)

html: setup
	@$(BIN)/python -m book.tools.build

pdf: html
	@$(BIN)/python -m book.tools.pdf

lab: setup
	@$(BIN)/python -m book.tools.environment $(BIN)/jupyter lab --notebook-dir notebooks --ServerApp.extra_static_paths notebooks/viewers

# A worker that crashes ends the run: xdist hangs when it replaces one under these distributions.
test: setup
	$(BIN)/ruff check .
	$(BIN)/pytest -n $(JOBS) --dist loadfile --max-worker-restart=0
	$(BIN)/pytest --nbval notebooks -n $(JOBS) --dist loadscope --max-worker-restart=0

# Every step goes on where it stopped. Results land in runs/reproduce/results; compare them with the recorded book/results.
reproduce: setup
	@$(BIN)/python -m data_scripts.reproduce --processes $(JOBS)

refresh: setup
	@$(BIN)/python -m book.tools.run_notebooks --store --jobs $(JOBS) $(ONLY)

# See notebooks/assignments/guide.md. GEO4D_INSTRUCTOR names a private folder of instructor's notebooks.
release-assignments: setup
	@$(BIN)/python -m book.tools.course.release --term "$(TERM_WORD)" --out "$(OUT)/release"

rehearse-course: setup
	@$(BIN)/python -m book.tools.course.rehearse --term "$(TERM_WORD)" --out "$(OUT)/rehearsal" --jobs $(JOBS)

grading-table: setup
	@$(BIN)/python -m book.tools.course.grading_table --term "$(TERM_WORD)" --jobs $(JOBS)

grade: setup
	@test -n "$(SUBMISSIONS)" || { echo "grade: say make grade SUBMISSIONS=folder, with one folder for each student in it"; exit 1; }
	@$(BIN)/python -m book.tools.course.grade "$(SUBMISSIONS)" --term "$(TERM_WORD)" --out "$(OUT)/grades" --jobs $(JOBS)

lock:
	@$(BIN)/python -m book.tools.lock

clean:
	rm -rf _build runs/book .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find geo4d_lite book tests data_scripts -name __pycache__ -type d -prune -exec rm -rf {} +

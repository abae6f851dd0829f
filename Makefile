# Every target sets up what it needs; nothing is installed outside this folder. What a target does, `deepmusic` does.
.DEFAULT_GOAL := help
.PHONY: help env run-local genres demo fit-timbre crawl serve versions rollback drift predict tag report airflow airflow-test \
	kubeflow kubeflow-local clean-old clean test test-all test-fast check docs lock benchmark benchmark-models benchmark-serving \
	load-serving kill-runs beam-cluster flink-test

VARIABLES := DATA LABELS NAME SETTINGS SET VERBOSE TRACK URL MODEL FORMAT OUT VERSION LOG LOG_RATE PORT REST_PORT THRESHOLD \
	FOLDS SEEDS SECONDS TRACKS JOB_PORT POOL_PORT UPGRADE STORE
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command line,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out $(VARIABLES) PYTHON MAKEFLAGS MAKEOVERRIDES SHELL CURDIR,$(GIVEN))
ifneq ($(UNKNOWN),)
$(error $(shell python3 tools/near.py $(firstword $(UNKNOWN)) $(VARIABLES)))
endif

# What the environment happens to hold is no option: WSL has NAME, many a container PORT.
$(foreach name,$(VARIABLES),$(if $(filter environment,$(origin $(name))),$(eval $(name) :=)))

# The environment's Python, made on first use.
python = $$(python3 tools/environment.py)
# Every argument is quoted, so that paths may hold spaces. SET holds settings as a shell has them: SET='a=1 b="x y"'.
named = $(if $(NAME),--name "$(NAME)") $(if $(SETTINGS),--settings "$(SETTINGS)")
data = $(if $(DATA),--data "$(DATA)") $(if $(LABELS),--labels "$(LABELS)")
verbose = $(if $(filter-out 0,$(VERBOSE)),--verbose)
version = $(if $(VERSION),--version "$(VERSION)")
# Calls the command with its options, and each word of SET behind --set.
define deepmusic
python=$(python) && { set -- $(SET); words=$$#; while [ $$words -gt 0 ]; do set -- "$$@" --set "$$1"; shift; words=$$((words-1)); done; \
	"$$python" -m deepmusic_genre $(1) "$$@"; }
endef

help:
	@echo "make run-local   train on DATA and push the best model; without DATA, on a synthetic demo catalogue"
	@echo "                   DATA=folder       your audio analyses or sound files, searched recursively; a dump or archive, too"
	@echo "                   LABELS=file.csv   track_id or file, genre[, artist_id,artist,title], or .cls; else tags and folders name genres"
	@echo "                   SETTINGS=my.yaml  what differs from pipeline/defaults.yaml"
	@echo "                   SET='training.seed=1 training.epochs=20'   single settings"
	@echo "                   NAME=mine         keep runs, cache and pushed models apart from others'"
	@echo "                   VERBOSE=1         show what TFX, Beam and TensorFlow log"
	@echo "make genres      which genres DATA and LABELS name, how often, and what each becomes; before anything is trained"
	@echo "make test        the tests, the linters and the type checker; make test-fast: those that take a moment"
	@echo "make test-all    make test, and the tests that repeat whole runs"
	@echo "make check       the linters, the type checker and the documentation alone"
	@echo "make serve       serve the pushed model; NAME PORT REST_PORT LOG LOG_RATE"
	@echo "make predict     ask a served model; TRACK=file or folder  URL  MODEL  VERSION  FORMAT=bars, csv or jsonl  OUT=file"
	@echo "make tag         the pushed model's answers to a catalogue; DATA OUT NAME VERSION  FORMAT=jsonl, m3u8 or both"
	@echo "make versions    the pushed versions; make rollback VERSION=…  make one live"
	@echo "make drift       compare the tracks in LOG=folder with what the live version was trained on; THRESHOLD=0.2"
	@echo "make report      open the newest report"
	@echo "make crawl       crawl the playlists in SETTINGS into a store of audio analyses"
	@echo "make fit-timbre  fit the basis of timbre of sound files anew, to synthetic sound or to the music in DATA"
	@echo "make airflow     Airflow on this machine with the pipeline as its DAG; make airflow-test: the whole DAG once"
	@echo "make kubeflow    compile the pipeline for Kubeflow Pipelines or Vertex AI; make kubeflow-local: run the file here"
	@echo "make clean-old   remove old runs, logs and versions; SET='keep.runs=3 keep.versions=2'"
	@echo "make clean       remove runs, pushed models and environments, but no crawled store; STORE=1 removes that, too"
	@echo "make env         make the environment; .venv/…/bin/deepmusic --help is the command behind these targets"
	@echo "make docs        build the documentation into site/"
	@echo "make benchmark, benchmark-models, benchmark-serving, load-serving, kill-runs, beam-cluster, flink-test, lock: see docs/benchmarks.md"

env:
	@$(call deepmusic,env)

# 3 says that a gate kept the model from being pushed, and has been told: no fault for make to report.
run-local:
	@$(call deepmusic,run $(data) $(named) $(verbose)) || [ $$? = 3 ]

genres:
	@$(call deepmusic,genres $(data) $(named) $(verbose))

demo:
	@$(call deepmusic,demo $(named) $(verbose)) || [ $$? = 3 ]

fit-timbre:
	@$(call deepmusic,fit-timbre $(if $(DATA),--data "$(DATA)"))

crawl:
	@$(call deepmusic,crawl $(named))

serve:
	@$(call deepmusic,serve $(named) $(if $(PORT),--port $(PORT)) $(if $(REST_PORT),--rest-port $(REST_PORT)) \
		$(if $(LOG),--log "$(LOG)") $(if $(LOG_RATE),--log-rate $(LOG_RATE)))

versions:
	@$(call deepmusic,versions $(named))

rollback:
	@$(call deepmusic,rollback $(named) $(version))

drift:
	@$(call deepmusic,drift $(named) $(version) $(if $(LOG),--log "$(LOG)") $(if $(THRESHOLD),--threshold $(THRESHOLD)))

predict:
	@$(call deepmusic,predict $(if $(URL),--url "$(URL)") $(if $(MODEL),--model "$(MODEL)") $(version) \
		$(if $(FORMAT),--format $(FORMAT)) $(if $(OUT),--out "$(OUT)") $(if $(TRACK),"$(TRACK)"))

tag:
	@$(call deepmusic,tag $(if $(DATA),--data "$(DATA)") $(if $(OUT),--out "$(OUT)") $(FORMAT:%=--format %) $(named) $(version) $(verbose))

report:
	@$(call deepmusic,report $(named))

airflow:
	@$(call deepmusic,airflow serve $(data) $(named))

airflow-test:
	@$(call deepmusic,airflow test $(data) $(named))

kubeflow:
	@$(call deepmusic,kubeflow compile $(data) $(named) $(verbose))

kubeflow-local:
	@$(call deepmusic,kubeflow run $(data) $(named) $(verbose))

clean-old:
	@$(call deepmusic,clean $(named))

test: check
	@python=$(python) && "$$python" -m pytest -m "not slow"

test-all: check
	@python=$(python) && "$$python" -m pytest

test-fast:
	@python=$(python) && "$$python" -m pytest -m fast

check:
	@python=$(python) && "$$python" -m ruff check . && "$$python" -m ruff format --check . && "$$python" -m mypy && \
		bin=$$(dirname "$$python") && "$$bin/lint-imports" && "$$bin/deptry" . && "$$python" -m zensical build --clean --strict

docs:
	@python=$(python) && "$$python" -m tools.docs_pages && "$$python" -m zensical build --clean --strict

lock:
	@uv=$$(python3 -c "from tools.environment import ensure_uv; print(ensure_uv())") && \
		"$$uv" pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --group dev --all-extras \
		$(if $(UPGRADE),--upgrade) --output-file requirements.lock pyproject.toml && \
	"$$uv" pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
		$(if $(UPGRADE),--upgrade) --output-file pipeline/airflow/requirements.lock pipeline/airflow/requirements.in

benchmark:
	@python=$(python) && "$$python" -m tools.benchmark $(SET) $(if $(DATA),--data "$(DATA)" --labels "$(LABELS)") $(if $(TRACKS),--tracks $(TRACKS))

benchmark-models:
	@python=$(python) && "$$python" -W ignore -m tools.benchmark_models --data "$(DATA)" $(if $(LABELS),--labels "$(LABELS)") \
		$(if $(SETTINGS),--settings "$(SETTINGS)") $(if $(FOLDS),--folds $(FOLDS)) $(if $(SEEDS),--seeds $(SEEDS)) $(SET)

benchmark-serving:
	@python=$(python) && "$$python" -W ignore -m tools.benchmark_serving $(named) $(if $(DATA),--data "$(DATA)")

load-serving:
	@python=$(python) && "$$python" -m tools.load_serving $(named) $(if $(SECONDS),--seconds $(SECONDS))

kill-runs:
	@python=$(python) && "$$python" -m tools.kill_runs $(data) $(SET)

beam-cluster:
	@python=$(python) && "$$python" -m tools.beam_cluster $(if $(JOB_PORT),--job-port $(JOB_PORT)) \
		$(if $(POOL_PORT),--pool-port $(POOL_PORT))

flink-test:
	@python=$(python) && "$$python" -m tools.flink_test $(data)

clean:
	@python3 -m tools.clean $(if $(filter-out 0 no,$(STORE)),--store)

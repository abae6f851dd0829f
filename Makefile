# Every target sets up what it needs; nothing is installed outside this folder.
.DEFAULT_GOAL := help
.PHONY: help run-local fit-timbre airflow airflow-test kill-runs kubeflow kubeflow-local crawl serve versions rollback drift beam-cluster load-serving predict tag test check lock benchmark benchmark-models benchmark-serving clean clean-old

# The environment's Python, made on first use.
python = $$(python3 tools/environment.py)
# Every argument is quoted, so that paths may hold spaces.
options = $(if $(DATA),--data "$(DATA)") $(if $(NAME),--name "$(NAME)") $(if $(SETTINGS),--settings "$(SETTINGS)") \
	$(if $(filter-out 0,$(VERBOSE)),--verbose) $(SET)

named = $(if $(NAME),--name "$(NAME)") $(if $(SETTINGS),--settings "$(SETTINGS)")

help:
	@echo "make run-local   run the pipeline here, on a synthetic demo catalogue"
	@echo "                   DATA=folder       your audio analyses or sound files, searched recursively; a dump or archive, too"
	@echo "                   LABELS=file.csv   track_id or file, genre[, artist_id,artist,title], or .cls; else genres are folder names"
	@echo "                   SETTINGS=my.yaml  what differs from pipeline/defaults.yaml"
	@echo "                   SET='training.seed=1 training.epochs=20'   single settings"
	@echo "                   NAME=mine         keep runs, cache and pushed models apart from others'"
	@echo "                   VERBOSE=1         show what TFX, Beam and TensorFlow log"
	@echo "make crawl       crawl the playlists in SETTINGS into a store of audio analyses, with progress; goes on where it ended"
	@echo "make serve       serve the pushed model on this machine: TF Serving with Docker, else a stand-in for it"
	@echo "                   NAME=mine  PORT=8500 (gRPC)  REST_PORT=8501"
	@echo "                   LOG=folder        keep the tracks served there, for make drift; LOG_RATE=0.1 keeps a tenth"
	@echo "make predict     ask a served model; TRACK=file or folder  URL=http://127.0.0.1:8501  FORMAT=bars, csv or jsonl"
	@echo "make fit-timbre  fit the basis of timbre of sound files anew, to made sound or to the music in DATA"
	@echo "make tag         the pushed model's answers to a catalogue, as Parquet and CSV; goes on where it was interrupted"
	@echo "                   DATA=folder  OUT=folder  NAME=mine  VERSION=1700000000 (else the newest)  SETTINGS  SET  VERBOSE"
	@echo "make versions    the versions that were pushed, with their scores, and which of them is live"
	@echo "make rollback    make VERSION=… the live one, older or newer; NAME=mine"
	@echo "make drift       compare the tracks in LOG=folder with what the live version was trained on; THRESHOLD=0.2"
	@echo "make load-serving   load on a served model while versions change; SECONDS=60"
	@echo "make beam-cluster   a Beam job server and a worker pool on this machine, for the portable runner; JOB_PORT POOL_PORT"
	@echo "make test        all tests, the linter and the type checker"
	@echo "make check       the linter and the type checker alone"
	@echo "make benchmark   seconds, CPU and memory of each component, as a table; DATA and LABELS needed"
	@echo "make benchmark-models   cross-validates the models on DATA and LABELS; FOLDS=5 SEEDS=3"
	@echo "make benchmark-serving  the development server beside the same model in the process; after run-local; NAME DATA"
	@echo "make lock        bring requirements.lock up to pyproject.toml; UPGRADE=1 takes the newest of everything"
	@echo "make airflow     Airflow on this machine with the pipeline as its DAG; what run-local takes"
	@echo "make airflow-test   the whole DAG once, without a scheduler; what run-local takes"
	@echo "make kill-runs   kills runs in the middle of every component, and compares what comes out; DATA LABELS"
	@echo "make kubeflow    compile the pipeline for Kubeflow Pipelines or Vertex AI; what run-local takes, and the settings kubeflow.*"
	@echo "make kubeflow-local  run the compiled pipeline here, each step by its own command; what run-local takes"
	@echo "make clean-old   remove old runs' artifacts and old versions, as keep in SETTINGS or SET='keep.runs=3 keep.versions=2' says"
	@echo "make clean       remove runs, pushed models and environments"

# 3 says that a gate kept the model from being pushed, and has been told: no fault for make to report.
run-local:
	@python=$(python) && { "$$python" -m pipeline.run.local $(if $(LABELS),--labels "$(LABELS)") $(options) || \
		[ $$? = 3 ]; }

fit-timbre:
	@python=$(python) && "$$python" -m deepmusic_genre.analyser.fit $(if $(DATA),--data "$(DATA)")

crawl:
	@python=$(python) && "$$python" -m pipeline.run.crawl $(if $(NAME),--name "$(NAME)") \
		$(if $(SETTINGS),--settings "$(SETTINGS)") $(SET)

airflow:
	@python3 -m pipeline.airflow.start serve $(if $(LABELS),--labels "$(LABELS)") $(options)

airflow-test:
	@python3 -m pipeline.airflow.start test $(if $(LABELS),--labels "$(LABELS)") $(options)

kubeflow:
	@python=$(python) && "$$python" -m pipeline.kubeflow.compile $(if $(LABELS),--labels "$(LABELS)") $(options)

kubeflow-local:
	@python=$(python) && "$$python" -m pipeline.kubeflow.local.run $(if $(LABELS),--labels "$(LABELS)") $(options)

serve:
	@python=$(python) && "$$python" -m serving $(named) \
		$(if $(PORT),--port $(PORT)) $(if $(REST_PORT),--rest-api-port $(REST_PORT)) \
		$(if $(LOG),--log "$(LOG)") $(if $(LOG_RATE),--log-rate $(LOG_RATE))

versions:
	@python=$(python) && "$$python" -m serving.versions $(named)

rollback:
	@python=$(python) && "$$python" -m serving.versions $(named) --live "$(VERSION)"

drift:
	@python=$(python) && "$$python" -m serving.drift $(named) --log "$(LOG)" $(if $(VERSION),--model-version "$(VERSION)") \
		$(if $(THRESHOLD),--threshold $(THRESHOLD))

load-serving:
	@python=$(python) && "$$python" -m tools.load_serving $(named) $(if $(SECONDS),--seconds $(SECONDS))

predict:
	@python=$(python) && "$$python" -m deepmusic_genre.client $(if $(URL),--url "$(URL)") $(if $(MODEL),--model "$(MODEL)") \
		$(if $(FORMAT),--format $(FORMAT)) $(if $(TRACK),"$(TRACK)")

tag:
	@python=$(python) && "$$python" -m serving.batch $(options) $(if $(OUT),--out "$(OUT)") $(if $(VERSION),--version "$(VERSION)")

beam-cluster:
	@python=$(python) && "$$python" -m tools.beam_cluster $(if $(JOB_PORT),--job-port $(JOB_PORT)) \
		$(if $(POOL_PORT),--pool-port $(POOL_PORT))

test: check
	@python=$(python) && "$$python" -m pytest

check:
	@python=$(python) && "$$python" -m ruff check . && "$$python" -m ruff format --check . && "$$python" -m mypy

benchmark:
	@python=$(python) && "$$python" -m tools.benchmark --data "$(DATA)" --labels "$(LABELS)" $(SET)

benchmark-models:
	@python=$(python) && "$$python" -W ignore -m tools.benchmark_models --data "$(DATA)" $(if $(LABELS),--labels "$(LABELS)") \
		$(if $(SETTINGS),--settings "$(SETTINGS)") $(if $(FOLDS),--folds $(FOLDS)) $(if $(SEEDS),--seeds $(SEEDS)) $(SET)

benchmark-serving:
	@python=$(python) && "$$python" -W ignore -m tools.benchmark_serving $(if $(NAME),--name "$(NAME)") \
		$(if $(SETTINGS),--settings "$(SETTINGS)") $(if $(DATA),--data "$(DATA)")

kill-runs:
	@python=$(python) && "$$python" -m tools.kill_runs $(if $(DATA),--data "$(DATA)") $(if $(LABELS),--labels "$(LABELS)") $(SET)

lock:
	@uv=$$(python3 -c "from tools.environment import ensure_uv; print(ensure_uv())") && \
		"$$uv" pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --group dev --all-extras \
		$(if $(UPGRADE),--upgrade) --output-file requirements.lock pyproject.toml && \
	"$$uv" pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
		$(if $(UPGRADE),--upgrade) --output-file pipeline/airflow/requirements.lock pipeline/airflow/requirements.in

clean-old:
	@python=$(python) && "$$python" -m pipeline.run.clean_old $(named) $(SET)

clean:
	rm -rf output .venv .tools

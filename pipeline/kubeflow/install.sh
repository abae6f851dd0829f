#!/bin/sh
# Makes the environment of the image's steps, in the folder that it is called in. Needs this project's lock, a Python and
# a package index. Its folder has a name that does not depend on the TFX that is picked, for PATH.
set -eu
python=$(python3 tools/environment.py)
ln -sfn "$(basename "$(dirname "$(dirname "$python")")")" .venv/step
.venv/step/bin/python -c 'import sys; print("steps run on", sys.version.split()[0], "in", sys.prefix)'

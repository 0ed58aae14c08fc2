#!/usr/bin/env bash
# All tests: lib/book/test.sh BIN. Cheap gates first; the last line printed is pytest's own summary.
set -euo pipefail
bin=$1

"$bin/ruff" check --quiet .
"$bin/ruff" format --check --quiet .
"$bin/lint-imports" --no-cache

export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TQDM_DISABLE=1 PYTHONHASHSEED=0 BOOK_BUILD=1
export JUPYTER_PREFER_ENV_PATH=1
mapfile -t chapters < <("$bin/python" -m lib.book chapters)

# one file stays with one worker: a notebook's cells share a kernel, and a browser is started once a file
exec "$bin/python" -m pytest -n 2 --dist loadfile \
    --nbval-lax --nbval-current-env --nbval-cell-timeout=900 tests "${chapters[@]}"

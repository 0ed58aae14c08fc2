#!/usr/bin/env bash
# Makes the environment: lib/book/install.sh FOLDER [EXTRA]. EXTRA is one of pyproject.toml's optional sets.
# PYTHON names another Python than the first that fits.
set -euo pipefail
folder=$1
project=.${2:+[$2]}

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }

python=""
for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
    if fits "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    echo "This book needs Python 3.11, 3.12 or 3.13, and found ${PYTHON:-none of them}; install one, or name it: make ... PYTHON=/path/to/python3.11" >&2
    exit 2
fi

# a folder with a broken or a foreign Python in it is made anew
if [ -e "$folder" ] && ! fits "$folder/bin/python"; then rm -rf "$folder"; fi

echo "Installing the packages into $folder with $("$python" --version). The first time takes up to ten minutes and 6 GB."
if command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1; then
    [ -x "$folder/bin/python" ] || uv venv --quiet --seed --python "$("$python" -c 'import sys; print(sys.executable)')" "$folder"
    uv pip install --python "$folder/bin/python" -r requirements.txt -c constraints.txt -e "$project"
else
    [ -x "$folder/bin/pip" ] || "$python" -m venv --clear "$folder"
    "$folder/bin/python" -m pip install --progress-bar off -r requirements.txt -c constraints.txt -e "$project"
fi

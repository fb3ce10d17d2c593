#!/usr/bin/env bash
# Writes the pinned requirements files, with hashes, from pyproject.toml. Run it after changing a dependency.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-build-isolation \
        --custom-compile-command "scripts/lock.sh" "$@"
}

compile pyproject.toml --output-file requirements.txt
for group in build dev spark node; do
    compile --constraints requirements.txt --group "$group" --output-file "requirements-$group.txt"
done

#!/usr/bin/env bash
# What the work tree changes in the templates since a commit, in `cdk diff`'s words, as Markdown. Needs no AWS account.
# Usage: scripts/template_diff.sh COMMIT
set -euo pipefail
if [[ $# -ne 1 ]]; then
    echo "usage: scripts/template_diff.sh COMMIT" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
export PATH="$root/.venv/bin:$PATH"
base=$(git rev-parse --verify --quiet "$1^{commit}") || {
    echo "there is no commit $1" >&2
    exit 2
}
work=$(mktemp -d)
trap 'git worktree remove --force "$work/tree" 2>/dev/null || true; rm -rf "$work"' EXIT

git worktree add --quiet --detach "$work/tree" "$base"
synth() { # FOLDER OUTPUT
    (cd "$1" && CDK_OUTDIR="$2" PYTHONPATH="$1:$1/constructs" \
        CDK_CONTEXT_JSON="$(jq -c .context cdk.json)" "$root/.venv/bin/python" app.py >&2)
}
synth "$work/tree" "$work/before"
synth "$root" "$work/after"

echo "## What changes in the templates"
for template in "$work"/after/*.template.json; do
    name=$(basename "$template" .template.json)
    before="$work/before/$name.template.json"
    [[ -f $before ]] || { before="$work/empty.json"; echo '{}' >"$before"; }
    printf '\n### %s\n\n```\n' "$name"
    node_modules/.bin/cdk diff --app "$work/after" --template "$before" --no-color --no-change-set --exclusively "$name" 2>&1 |
        sed -e '/^✨/d' -e "s#$work/##g"
    printf '```\n'
done
for template in "$work"/before/*.template.json; do
    name=$(basename "$template")
    [[ -f "$work/after/$name" ]] || printf '\n### %s\n\nThe stack is gone.\n' "${name%.template.json}"
done

# shellcheck shell=bash
# How boot ends when something is wrong: with one reason, where user data finds it.

# Where user data looks for the reason.
FAILURE_FILE=/run/sparkvault/boot-failure

# fail REASON: end boot for this one reason.
fail() {
  trap - ERR
  write_reason "$FAILURE_FILE" "$1"
  printf 'sparkvault: %s\n' "$1" >&2
  exit 1
}

# write_reason FILE REASON: the first reason stays, for what follows is only its consequence.
write_reason() {
  local file=$1 reason=$2
  mkdir -p "$(dirname "$file")"
  [[ -s $file ]] || printf '%s\n' "$reason" > "$file"
}

# unexpected COMMAND LINE FILE: for the ERR trap, so that even what nobody thought of has a reason.
unexpected() {
  fail "boot stopped at '$1' ($(basename "$3"), line $2)"
}

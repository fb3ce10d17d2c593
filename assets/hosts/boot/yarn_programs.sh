# shellcheck shell=bash
# What a YARN host has beside the bundle of all hosts: its own programs and templates, an archive of the same deployment.

YARN_FILE=/etc/sparkvault/yarn.json
YARN_FOLDER=/opt/sparkvault/yarn

# Its part of the encrypted volume; var-lib-sparkvault-yarn.mount binds it to its place.
YARN_VOLUME=/var/lib/docker/sparkvault-yarn

# make_yarn_volume: once the volume is mounted.
make_yarn_volume() {
  mkdir -p "$YARN_VOLUME"
}

# fetch_yarn_programs: where user data says, to where units expect them.
fetch_yarn_programs() {
  local url archive=/run/sparkvault/yarn.zip
  url=$(host_value programs "$YARN_FILE")
  for _ in 1 2 3 4 5 6; do
    if aws s3 cp --only-show-errors "$url" "$archive"; then
      python3 -m zipfile -e "$archive" "$YARN_FOLDER"
      return 0
    fi
    sleep 10
  done
  fail "YARN's programs could not be fetched from $url"
}

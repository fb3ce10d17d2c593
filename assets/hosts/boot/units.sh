# shellcheck shell=bash
# The bundle's systemd units: installing what lies in systemd/, and starting it.

# unit_folders BUNDLE ROLE ENCLAVES: the folders whose units this host gets; ENCLAVES is empty where it has none.
unit_folders() {
  echo "$1/systemd"
  # Of YARN's hosts: units of their own take the place of the swarm's by their names.
  if [[ $2 == yarn-* ]]; then
    echo "$1/systemd/yarn"
  fi
  echo "$1/systemd/$2"
  if [[ -n $3 ]]; then
    echo "$1/systemd/enclaves"
  fi
}

# units_in FOLDER…: the names of the units that lie there.
units_in() {
  local folder file
  for folder in "$@"; do
    for file in "$folder"/*.{service,socket,timer,path,mount,target}; do
      [[ -f $file ]] && basename "$file"
    done
  done
  return 0
}

# install_units TARGET FOLDER…: copy units and drop-ins.
install_units() {
  local target=$1 folder entry
  shift
  for folder in "$@"; do
    for entry in "$folder"/*.{service,socket,timer,path,mount,target}; do
      [[ -f $entry ]] && install -m 0644 -D "$entry" "$target/$(basename "$entry")"
    done
    for entry in "$folder"/*.d/*.conf; do
      [[ -f $entry ]] && install -m 0644 -D "$entry" "$target/$(basename "$(dirname "$entry")")/$(basename "$entry")"
    done
  done
  return 0
}

# last_words UNIT: the last line that its process wrote, in this boot of the machine.
last_words() {
  journalctl --unit "$1" --boot --no-pager --output cat --lines 1 _TRANSPORT=stdout
}

# start_unit UNIT: start it, now and at later boots, and wait until it is up. If it fails, its last words are the reason.
start_unit() {
  local unit=$1 last
  if grep --quiet --no-messages '^\[Install\]' "$(systemctl show --property FragmentPath --value "$unit")"; then
    systemctl --quiet enable "$unit"
  fi
  if ! systemctl start "$unit"; then
    last=$(last_words "$unit" || true)
    fail "$unit did not start: ${last:-it left no message}"
  fi
}

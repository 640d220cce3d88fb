# Sourced by the other scripts: makes $VENV ready, quickly when it already is. Sets VENV and PYTHON.
#   PYTHON           the interpreter to make the environment from (default: the first of python3.13 … python3 that will do)
#   DEPLOYTOOLS_VENV where the environment goes (default: .venv in this checkout)

say() { printf '%s\n' "$*" >&2; }
stop() { say "error: $1"; [ $# -lt 2 ] || say "hint: $2"; exit 2; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$candidate"; return; }
  done
  stop "no Python 3.11 or newer was found" "install one, or name it: PYTHON=/path/to/python3 $0"
}

bootstrap() {
  local root lock stamp python log
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  VENV=${DEPLOYTOOLS_VENV:-$root/.venv}
  lock=$root/requirements/dev.txt
  stamp=$VENV/.installed.txt
  cmp -s "$lock" "$stamp" && return
  python=$(find_python) || exit 2
  mkdir -p "$VENV" 2>/dev/null && [ -w "$VENV" ] ||
    stop "cannot write to $VENV" "choose a place for the environment: DEPLOYTOOLS_VENV=\$HOME/.cache/deploytools-venv $0"
  "$python" -c 'import venv, ensurepip' 2>/dev/null ||
    stop "$python has no venv module" "install it (Debian and Ubuntu: apt install python3-venv)"
  say "Preparing $VENV (first use, or the locked requirements changed) …"
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  if ! { [ -x "$VENV/bin/pip" ] || "$python" -m venv "$VENV"; } >"$log" 2>&1 ||
    ! "$VENV/bin/pip" install --disable-pip-version-check --quiet --require-hashes -r "$lock" >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    stop "the locked requirements could not be installed (the lines above are pip's)" "check that a package index can be reached, then run $0 again"
  fi
  cp "$lock" "$stamp"
  rm -f "$log"
  trap - EXIT
}

bootstrap

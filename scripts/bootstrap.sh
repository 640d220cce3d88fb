# Sourced by the other scripts: prepares the virtual environment. Sets VENV, its directory.
#   . scripts/bootstrap.sh local   with requirements/local.txt, for the demo and the local cloud
#   . scripts/bootstrap.sh dev     with requirements/dev.txt, which contains local.txt
#
#   PYTHON           the interpreter for the environment (default: the first of python3, python3.14 … python3.11 that fits)
#   DEPLOYTOOLS_VENV the environment's directory (default: .venv in this checkout)

say() { printf '%s\n' "$*" >&2; }
stop() { say "error: $1"; [ $# -lt 2 ] || say "hint: $2"; exit 2; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$candidate"; return; }
  done
  stop "no Python 3.11 or newer was found" "install one, or set its path: PYTHON=/path/to/python3 $0"
}

is_installed() { cmp -s "$root/requirements/$1.txt" "$VENV/.installed-$1.txt"; }

make_venv() {
  [ -x "$VENV/bin/python" ] && return
  local python
  python=$(find_python) || exit 2
  mkdir -p "$VENV" 2>/dev/null && [ -w "$VENV" ] ||
    stop "cannot write to $VENV" "choose another directory: DEPLOYTOOLS_VENV=\$HOME/.cache/deploytools-venv $0"
  "$python" -c 'import venv, ensurepip' 2>/dev/null ||
    stop "$python has no venv module" "install it (Debian and Ubuntu: apt install python3-venv)"
  # Installing pip takes longer than all the rest. The interpreter's own pip is used, if it has one.
  if has_pip "$python"; then "$python" -m venv --without-pip "$VENV"; else "$python" -m venv "$VENV"; fi
}

has_pip() { "$1" -c 'import pip' 2>/dev/null; }

pip_install() {
  local python=$VENV/bin/python
  has_pip "$python" || python=$(find_python)
  "$python" -m pip --python "$VENV/bin/python" install --disable-pip-version-check --quiet --require-hashes "$@"
}

# uv installs in a fraction of pip's time. Where it cannot (it does not read pip.conf), pip does.
install_requirements() {
  local lock=$1 installer=$2
  pip_install --no-compile --target "$installer" --requirement "$root/requirements/installer.txt" &&
    "$installer/bin/uv" pip install --quiet --python "$VENV/bin/python" --require-hashes -r "$lock" ||
    pip_install --requirement "$lock"
}

bootstrap() {
  local name=$1 root log
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  VENV=${DEPLOYTOOLS_VENV:-$root/.venv}
  is_installed "$name" || is_installed dev && return
  make_venv
  say "Installing requirements/$name.txt in $VENV …"
  temporary=$(mktemp -d)
  trap 'rm -rf "$temporary"' EXIT
  install_requirements "$root/requirements/$name.txt" "$temporary/installer" >"$temporary/log" 2>&1 || {
    tail -n 5 "$temporary/log" >&2
    stop "requirements/$name.txt could not be installed (see pip's output above)" \
      "check that the package index can be reached, then run $0 again"
  }
  cp "$root/requirements/$name.txt" "$VENV/.installed-$name.txt"
  rm -rf "$temporary"
  trap - EXIT
}

bootstrap "$1"
# Compile each module once, even if PYTHONDONTWRITEBYTECODE is set, and not into the checkout.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX=$VENV/pycache

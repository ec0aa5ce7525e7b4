# What the installers share: Debian's packages, with a plain word where they cannot be had. Sourced, not run.

say() { printf '[%s] %s\n' "$(date +%T)" "$*"; }

# Fails with the way out unless this is a Debian machine that packages may be installed on.
require_debian_root() {
  if ! command -v apt-get >/dev/null; then
    echo "$1 is installed from Debian's packages, and this machine has no apt-get." >&2
    echo "Install $1 by its own instructions and put it on PATH; the build uses what it finds there." >&2
    exit 1
  fi
  if [ "$(dpkg --print-architecture)" != amd64 ]; then
    echo "$1 has been tried on amd64 alone, and this machine is $(dpkg --print-architecture)." >&2
    echo "Install $1 by its own instructions and put it on PATH; the build uses what it finds there." >&2
    exit 1
  fi
  if [ "$(id -u)" != 0 ]; then
    echo "$1 needs Debian packages, which only root may install: run 'sudo -E npm run toolchains'," >&2
    echo "or install $1 by its own instructions and put it on PATH." >&2
    exit 1
  fi
}

# Runs a command with its output in a file, of which the end is shown if it fails: run_quietly FILE COMMAND...
run_quietly() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    echo "failed: $*" >&2
    return 1
  }
}

# apt_install LOG PACKAGE...: refreshes the lists only where the packages are not known yet.
apt_install() {
  local log=$1
  shift
  local install=(apt-get -o DPkg::Lock::Timeout=900 install -y -q --no-install-recommends)
  "${install[@]}" "$@" >"$log" 2>&1 && return
  run_quietly "$log" apt-get -o DPkg::Lock::Timeout=900 update -q
  DEBIAN_FRONTEND=noninteractive run_quietly "$log" "${install[@]}" "$@"
}

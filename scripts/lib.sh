# shellcheck shell=bash disable=SC2034 # some names are for those who source this
# Helpers for the scripts beside this file: what to say, what to install, how long a step took.
# Sourced, never run. Everything here works on a bare Debian machine with Rust and nothing else.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Where cargo builds, also when the user has moved it.
target_dir=${CARGO_TARGET_DIR:-$root/target}
# What is built once for all checkouts.
cache_dir=${XDG_CACHE_HOME:-$HOME/.cache}/strongroom
# Debian's path of the SoftHSM2 module.
softhsm_module=/usr/lib/softhsm/libsofthsm2.so

say() { printf '\n== %s\n' "$*" >&2; }
note() { printf '   %s\n' "$*" >&2; }
fail() {
  printf '\nerror: %s\n' "$*" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# want THING PACKAGE [THING PACKAGE…]: THING is a command or an absolute path; PACKAGE is the Debian package that
# brings it. Installs the packages of all missing things in one go; touches nothing when nothing is missing.
want() {
  local missing=()
  while (($# >= 2)); do
    if [[ $1 == /* ]]; then [[ -e $1 ]] || missing+=("$2"); else have "$1" || missing+=("$2"); fi
    shift 2
  done
  ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

install_packages() {
  have apt-get || fail "missing here: $*. These are Debian package names; install the like of them and start again."
  local as_root=()
  if ((EUID != 0)); then
    have sudo || fail "missing packages: $*. Install them as root: apt-get install -y $*"
    as_root=(sudo)
  fi
  say "installing missing Debian packages: $*"
  # The package lists are fetched only when the installation does not work without.
  apt_install "$@" >&2 && return
  "${as_root[@]}" apt-get update -q >&2 || fail "apt-get update failed; missing packages: $*"
  apt_install "$@" >&2 || fail "could not install: $*"
}

apt_install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

want_rust() {
  # shellcheck disable=SC1091 # rustup's own file, there or not
  if ! have cargo && [[ -r ${CARGO_HOME:-$HOME/.cargo}/env ]]; then . "${CARGO_HOME:-$HOME/.cargo}/env"; fi
  have cargo || fail "cargo is not installed. Install Rust (https://rustup.rs), then start this again."
  # sqlite and ring are compiled from C.
  want gcc gcc /usr/include/stdio.h libc6-dev
}

want_softhsm() { want softhsm2-util softhsm2 "$softhsm_module" softhsm2; }

want_nss() {
  want certutil libnss3-tools
  softokn >/dev/null || install_packages libnss3
}

# The path of NSS's PKCS#11 module, whatever the machine's architecture.
softokn() { compgen -G '/usr/lib/*/libsoftokn3.so'; }

# make_venv DIR REQUIREMENTS: a Python environment with exactly the pinned packages; made anew when the pins change.
make_venv() {
  local dir=$1 pins=$2
  want python3 python3
  python3 -c 'import venv, ensurepip' 2>/dev/null || install_packages python3-venv
  cmp -s "$pins" "$dir/installed.txt" && return
  say "making the Python environment for the end-to-end tests in $dir"
  rm -rf "$dir"
  python3 -m venv "$dir"
  "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$pins" >&2
  cp "$pins" "$dir/installed.txt"
}

# step NAME COMMAND…: runs it, remembers how long it took and whether it worked. summary prints all of them.
# A command that could not check anything here answers 3. (Not `command || …`: that would switch `set -e` off inside.)
not_checked=3
steps=()
failed=0
step() {
  local name=$1 began=$SECONDS rc result=ok
  shift
  say "$name"
  set +e
  (
    set -e
    "$@"
  )
  rc=$?
  set -e
  if ((rc == not_checked)); then result="UNCHECKED"; elif ((rc != 0)); then result=FAILED failed=1; fi
  steps+=("$(printf '%-9s %4d s  %s' "$result" $((SECONDS - began)) "$name")")
}

summary() {
  printf '\n== summary\n'
  printf '   %s\n' "${steps[@]}"
  return "$failed"
}

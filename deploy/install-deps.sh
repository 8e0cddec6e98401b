#!/usr/bin/env bash
# install-deps.sh SET...: installs what is missing of the Debian 12 packages that vow needs.
#   build   to compile vowd, vowctl, libvow and the examples
#   demo    what ./deploy/quickstart.sh needs beyond that
#   test    what ./tests/run.sh needs beyond that
#   bench   what ./tests/bench/run.sh needs beyond that
# Asks dpkg first, so that a machine that has everything needs neither the network nor root.
set -euo pipefail

packages_of() {
  case "$1" in
    build)
      echo gcc g++ cmake ninja-build pkg-config libmicrohttpd-dev libsqlite3-dev \
        libcurl4-openssl-dev libuv1-dev libinih-dev libxxhash-dev ;;
    demo)
      echo curl ;;
    test)
      echo libcmocka-dev libjansson-dev clang libclang-rt-14-dev clang-format clang-tidy valgrind \
        openssl shellcheck sqlite3 spin groff-base python3 python3-venv python3-pytest \
        python3-pytest-xdist python3-yaml python3-jsonschema ;;
    bench)
      echo python3 ;;
    *)
      echo "install-deps.sh: no set is named '$1'; there are: build, demo, test, bench" >&2
      return 1 ;;
  esac
}

is_installed() {
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Prints the command prefix that makes us root: nothing for root, sudo for others.
root_prefix() {
  if [ "$(id -u)" -eq 0 ]; then
    return 0
  elif command -v sudo >/dev/null; then
    echo sudo
  else
    echo "install-deps.sh: these packages are missing and only root can install them:" >&2
    echo "  apt-get install $*" >&2
    echo "Run that as root, or install sudo, and start again." >&2
    return 1
  fi
}

main() {
  local set list package prefix wanted=() missing=()
  [ $# -gt 0 ] || { echo "usage: install-deps.sh build|demo|test|bench ..." >&2; return 2; }
  for set in "$@"; do
    list=$(packages_of "$set")
    read -ra list <<<"$list"
    wanted+=("${list[@]}")
  done
  if ! command -v dpkg-query >/dev/null; then
    echo "install-deps.sh: this is not Debian; install the equivalents of: ${wanted[*]}" >&2
    return 1
  fi
  for package in "${wanted[@]}"; do
    is_installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0

  prefix=$(root_prefix "${missing[@]}")
  echo "Installing ${missing[*]} ..."
  $prefix apt-get update -q >/dev/null
  $prefix env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    "${missing[@]}" >/dev/null
}

main "$@"

# shellcheck shell=sh disable=SC2034,SC2154
# SPDX-License-Identifier: Apache-2.0
# Shared by demo.sh and check.sh: installs the Debian packages that a build needs, makes configure, builds out of tree.
# Sourced with $top set to the root of the checkout.

build_packages="gcc make autoconf automake libtool pkg-config libopenblas-openmp-dev libjansson-dev libpcre2-dev
  libutf8proc-dev zlib1g-dev libzstd-dev libyaml-dev libxxhash-dev check ocl-icd-opencl-dev"

say() { printf '== %s\n' "$*"; }

# The packages of $* that dpkg does not know as installed.
missing_packages() {
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || printf ' %s' "$package"
  done
}

install_packages() {
  if ! command -v dpkg-query >/dev/null 2>&1; then
    say "Not a Debian system: please install what these Debian packages hold: $*"
    return 0
  fi
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  become=
  if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
      become=sudo
    else
      say "These packages are missing:$missing"
      say "Install them with: apt-get install$missing"
      return 1
    fi
  fi
  say "Installing$missing"
  # shellcheck disable=SC2086
  { $become env DEBIAN_FRONTEND=noninteractive apt-get -qq update &&
    $become env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $missing
  } >/dev/null || {
    say "Installation failed; the packages needed are:$missing"
    return 1
  }
}

# make_build FOLDER CONFIGURE-OPTIONS...
make_build() {
  folder=$1
  shift
  if [ ! -x "$top/configure" ] || [ "$top/configure.ac" -nt "$top/configure" ]; then
    say "Making configure"
    "$top/bootstrap" >"$top/bootstrap.tmp" 2>&1 || { cat "$top/bootstrap.tmp"; return 1; }
    rm -f "$top/bootstrap.tmp"
  fi
  mkdir -p "$folder"
  if [ ! -f "$folder/Makefile" ]; then
    say "Configuring in $folder"
    (cd "$folder" && "$top/configure" "$@" >configure.out 2>&1) || { tail -n 20 "$folder/configure.out"; return 1; }
  fi
  say "Building (messages in $folder/make.out)"
  make -C "$folder" -j"$(nproc)" >"$folder/make.out" 2>&1 || { tail -n 40 "$folder/make.out"; return 1; }
}

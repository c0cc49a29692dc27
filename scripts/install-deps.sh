#!/usr/bin/env bash
# Installs the Debian 12 packages that a task needs and the machine lacks; silent when none is missing.
#
#   scripts/install-deps.sh GROUP...    groups: run check gate bench models
#   scripts/install-deps.sh --list GROUP...    prints the packages, installs nothing
#
# apt-get runs as root, or through sudo, and only when something is missing.
set -euo pipefail

group_packages() {
    case "$1" in
    run) echo "gcc make pkg-config libc6-dev libmicrohttpd-dev libjansson-dev libuv1-dev libinih-dev nettle-dev libpng-dev libzip-dev libdnnl-dev" ;;
    check) echo "check libsubunit-dev libopenblas-dev curl python3" ;;
    gate) echo "clang-19 clang-tidy-19 clang-format-19 llvm-19 libclang-rt-19-dev libomp-19-dev cppcheck valgrind libc6-dev-arm64-cross" ;;
    bench) echo "wrk python3-torch libopenblas0-openmp python3-fastapi python3-uvicorn python3-numpy $(node_packages)" ;;
    models) echo "python3-torch python3-numpy python3-scipy python3-matplotlib libopenblas0-pthread $(node_packages)" ;;
    *)
        echo "install-deps: unknown group '$1' (known: run check gate bench models)" >&2
        return 2
        ;;
    esac
}

# A Node.js that is already there, from wherever, is kept.
node_packages() {
    command -v node >/dev/null || echo nodejs
    command -v npm >/dev/null || echo npm
}

missing_packages() {
    local installed
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p') || true
    comm -23 <(printf '%s\n' "$@" | sort -u) <(sort -u <<<"$installed")
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@" </dev/null
    elif command -v sudo >/dev/null; then
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    else
        echo "install-deps: installing packages needs root, and there is no sudo here. As root, run:" >&2
        echo "    apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
}

list_only=no
if [ "${1:-}" = --list ]; then
    list_only=yes
    shift
fi
if [ $# -eq 0 ]; then
    echo "usage: scripts/install-deps.sh [--list] GROUP...   (run check gate bench models)" >&2
    exit 2
fi

packages=()
for group in "$@"; do
    text=$(group_packages "$group")
    read -r -a words <<<"${text//$'\n'/ }"
    packages+=("${words[@]}")
done

if [ "$list_only" = yes ]; then
    printf '%s\n' "${packages[@]}"
    exit 0
fi
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "install-deps: this is not a Debian system, so packages cannot be installed for you." >&2
    echo "Install what your system calls these Debian 12 packages, then add DEPS=no to the make command:" >&2
    echo "    ${packages[*]}" >&2
    exit 1
fi

mapfile -t missing < <(missing_packages "${packages[@]}")
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

apt_options=(-qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
echo "install-deps: installing ${missing[*]}"
as_root apt-get "${apt_options[@]}" update
as_root apt-get "${apt_options[@]}" install -y --no-install-recommends "${missing[@]}"
mapfile -t missing < <(missing_packages "${missing[@]}")
if [ ${#missing[@]} -ne 0 ]; then
    echo "install-deps: apt-get ended well, yet these are still missing: ${missing[*]}" >&2
    exit 1
fi
echo "install-deps: done"

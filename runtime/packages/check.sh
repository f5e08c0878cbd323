#!/usr/bin/env bash
# Tries packages in empty environments.
#
#     runtime/packages/check.sh                 builds all and tries them: half an hour
#     runtime/packages/check.sh core PROGRAM    what a minute allows, with a program that is built already
#
# A part whose programs are missing says that it is skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step() { printf -- '-- %s\n' "$*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }

# in_root ROOT COMMAND…: runs a command that sees nothing but ROOT.
in_root() {
    local root=$1
    shift
    if [ "$(id -u)" = 0 ]; then env -i "$(command -v chroot)" "$root" "$@"; else env -i "$(command -v unshare)" -r "$(command -v chroot)" "$root" "$@"; fi
}

# same PROGRAM ROOT MODEL PICTURE COMMAND…: COMMAND in ROOT says of the picture what PROGRAM says here.
same() {
    local program=$1 root=$2 model=$3 picture=$4 here there
    shift 4
    here=$("$program" run "$model" "$picture" --top 3 --isa portable 2>&1 | grep %)
    there=$(in_root "$root" "$@" --top 3 --isa portable 2>&1) || fail "in an empty environment: $there"
    [ "$here" = "$(grep % <<<"$there")" ] || fail "in an empty environment: $there, wanted $here"
}

# The newest version of glibc that the program asks for.
symbols() {
    local newest
    newest=$(objdump -T "$1" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
    step "symbols of $newest or older"
    [ "$(printf '%s\nGLIBC_2.28\n' "$newest" | sort -V | tail -1)" = GLIBC_2.28 ] || fail "glibc 2.28 has no $newest"
}

# A root with the libraries that the program is linked with, and nothing else: no /proc, no /dev, no shell.
alone() {
    local root=$work/alone library
    step "a root with libc alone"
    mkdir -p "$root/bin"
    cp "$1" "$root/bin/ninc"
    for library in $(ldd "$1" | grep -o '/[^ ]*'); do install -D "$library" "$root$library"; done
    cp models/digits.nin models/digits.safetensors tests/data/digit-7.png "$root"
    same "$1" "$root" models/digits.nin tests/data/digit-7.png /bin/ninc run digits.nin digit-7.png
    in_root "$root" /bin/ninc devices >"$work/devices" 2>&1 || fail "ninc devices: $(cat "$work/devices")"
    in_root "$root" /bin/ninc train digits.nin --steps 20 --out out >/dev/null 2>"$work/said" || fail "$(cat "$work/said")"
    [ -s "$root/out/digits.safetensors" ] || fail "no weights"
}

# What a crate must hold to be compiled, and no more.
crates() {
    step "crates"
    cargo package --workspace --locked --no-verify --allow-dirty --quiet
    local version crate bytes
    version=$(cargo pkgid --package ninc | sed 's/.*[#@]//')
    for crate in ninc ninc-runtime opencl-loader; do
        bytes=$(stat -c %s "target/package/$crate-$version.crate")
        [ "$bytes" -lt 10000000 ] || fail "$crate has $bytes bytes; registries take 10 MB"
        tar -C "$work" -xzf "target/package/$crate-$version.crate"
        mv "$work/$crate-$version" "$work/crate-$crate"
    done
}

# The program compiled from the crates alone, as `cargo install` of a registry would.
installed() {
    crates
    step "cargo install from them"
    (cd "$work" && cargo install --quiet --locked --path "$work/crate-ninc" --root "$work/installed" \
        --config "patch.crates-io.ninc-runtime.path='$work/crate-ninc-runtime'" \
        --config "patch.crates-io.opencl-loader.path='$work/crate-opencl-loader'")
    "$work/installed/bin/ninc" run models/digits.nin tests/data/digit-7.png --top 1
}

# minimal: makes $work/debian.
minimal() {
    if ! command -v debootstrap >/dev/null || [ "$(id -u)" != 0 ]; then
        echo "SKIPPED: a minimal Debian needs debootstrap and root"
        return 1
    fi
    debootstrap --variant=minbase "${NINC_DEBIAN:-stable}" "$work/debian" >"$work/debootstrap" || fail "$(tail -3 "$work/debootstrap")"
}

# The package comes, works, and goes without a trace.
debian() {
    local root=$work/debian deb=$1 program=$2
    step "the Debian package in a minimal Debian"
    files() { (cd "$root" && find . -path ./var/lib/dpkg -prune -o -path ./var/log -prune -o -path ./var/cache -prune -o -print | sort); }
    files >"$work/before"
    cp "$deb" "$root/ninc.deb"
    in_root "$root" /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin dpkg --install /ninc.deb >"$work/dpkg" 2>&1 || fail "$(cat "$work/dpkg")"
    same "$program" "$root" models/cifar10.nin tests/data/cat.png \
        /usr/bin/ninc run /usr/share/ninc/models/cifar10.nin /usr/share/ninc/pictures/cat.png
    [ -s "$root/usr/share/man/man1/ninc-train.1.gz" ] || [ -e "$root/etc/dpkg/dpkg.cfg.d/docker" ] || fail "no manual page"
    in_root "$root" /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin dpkg --purge ninc >/dev/null 2>&1 || fail "purge"
    rm "$root/ninc.deb"
    files | diff "$work/before" - || fail "these files differ after the package has gone"
}

# The container file on that Debian, so that no registry of images is needed.
container() {
    if ! command -v buildah >/dev/null; then
        echo "SKIPPED: the container needs buildah"
        return
    fi
    step "the container"
    local images=(--root "$work/images" --runroot "$work/run" --storage-driver vfs) base
    base=$(buildah "${images[@]}" from scratch)
    buildah "${images[@]}" add --quiet "$base" "$work/debian" / >/dev/null
    buildah "${images[@]}" commit --quiet "$base" ninc-base >/dev/null
    buildah "${images[@]}" build --quiet --isolation chroot --build-arg BASE=localhost/ninc-base -f runtime/packages/Containerfile -t ninc . >/dev/null
    base=$(buildah "${images[@]}" from --pull-never localhost/ninc)
    buildah "${images[@]}" run --isolation chroot "$base" -- \
        /usr/bin/ninc run /usr/share/ninc/models/digits.nin /usr/share/ninc/pictures/digit-7.png --top 1
}

if [ "${1-}" = core ]; then
    [ $# = 2 ] || { echo "usage: check.sh core PROGRAM" >&2; exit 2; }
    strip -o "$work/ninc" "$2"
    alone "$work/ninc"
    crates
    exit
fi
[ $# = 0 ] || { echo "usage: check.sh [core PROGRAM]" >&2; exit 2; }
runtime/packages/binary.sh
runtime/packages/deb.sh
program=target/x86_64-unknown-linux-gnu/release/ninc
symbols "$program"
alone "$program"
if minimal; then
    for deb in target/packages/ninc_*_amd64.deb; do debian "$deb" "$program"; done
    container
fi
installed
echo "packages work"

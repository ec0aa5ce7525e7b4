#!/usr/bin/env bash
# Measures a call from the pool's server to its engine: calls a second, latency, CPU time and bytes copied at 64 B, 64 KB,
# 1 MB and 16 MB, by ffi, shm, grpc and a plain Unix socket, in one run. Needs pool/dist (pool/build.sh engine) and go.
#
#   bench/ipc/run.sh [--time 500ms] [--callers 1]
set -euo pipefail
cd "$(dirname "$0")/../.."
[[ -x pool/dist/treeline-engine && -f pool/dist/libtreeline_engine.a ]] || {
  echo "There is no engine in pool/dist: run pool/build.sh engine." >&2
  exit 2
}
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
(cd pool/server && go build -tags ffi -o "$work/boundarybench" ./engine/boundarybench)
"$work/boundarybench" --engine-program "$PWD/pool/dist/treeline-engine" "$@"

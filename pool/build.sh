#!/usr/bin/env bash
# Builds the pool into pool/dist/: the engine as a library and as a program, and the server. Needs cargo, go and a C compiler.
#
#   pool/build.sh [engine] [server]     these parts; none named: both
#
# CARGO_TARGET_DIR is respected. ENGINE_FEATURES names the kinds of models to compile in, such as "native,onnx" ("none":
# none at all); unset: all. "cuda" among them has candle compute on NVIDIA GPUs as well, such as "native,candle,onnx,cuda";
# that needs CUDA's toolkit (nvcc on the PATH). The server is then built without the engine inside, and runs it as a process.
set -euo pipefail
cd "$(dirname "$0")"
dist="$PWD/dist"
mkdir -p "$dist"
parts=("$@")
[[ ${#parts[@]} -gt 0 ]] || parts=(engine server)

features=()
case "${ENGINE_FEATURES-all}" in
  all) ;;
  none) features=(--no-default-features) ;;
  *) features=(--no-default-features --features "$ENGINE_FEATURES") ;;
esac

# Into place by a rename: a program that runs keeps its file.
place() {
  cp "$1" "$dist/.$2.new"
  mv "$dist/.$2.new" "$dist/$2"
}

# In one go, so that both share what they depend on.
build_engine() {
  local target="${CARGO_TARGET_DIR:-$PWD/engine/target}/release"
  (cd engine && cargo build --release --locked "${features[@]}" -p engine-ffi -p engine-worker)
  place "$target/libtreeline_engine.a" libtreeline_engine.a
  place "$target/treeline-engine" treeline-engine
}

# CUDA's libraries are linked by cargo alone, and so only into the engine's program.
build_server() {
  local tags=ffi
  [[ ",${ENGINE_FEATURES-}," != *,cuda,* ]] || tags=
  (cd server && CGO_ENABLED=1 go build -trimpath -tags "$tags" -o "$dist/" ./cmd/...)
}

for part in "${parts[@]}"; do
  case "$part" in
    engine) build_engine ;;
    server) build_server ;;
    *) echo "There is no part \"$part\": engine or server." >&2; exit 2 ;;
  esac
done

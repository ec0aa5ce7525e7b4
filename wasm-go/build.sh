#!/usr/bin/env bash
# Builds the Go modules for WebAssembly and their TypeScript declarations.
#   wasm-go/build.sh [OUTPUT FOLDER]     default: wasm-go/dist
# Needs Go and TinyGo: the `tinygo` on PATH, else the one that infra/toolchains installed. The bytes depend on the
# sources and on these two versions alone; `npm run wasm:check -- --rebuild` holds the build to that.
set -euo pipefail
cd "$(dirname "$0")"
output=${1:-dist}
toolchains=${TREELINE_TOOLCHAINS:-/opt}

tinygo=$(command -v tinygo || echo "$toolchains/tinygo/bin/tinygo")
if [ ! -x "$tinygo" ] || ! command -v go >/dev/null; then
  echo "wasm-go/build.sh: needs go and tinygo; 'npm run toolchains' installs tinygo" >&2
  exit 1
fi

# wasm-unknown has no imports, so no host needs a shim. The default stack of 4 KB is too small for Go's own fmt and
# sort; with "precise" garbage collection a path that never allocates stays at its memory for ever.
flags=(
  -target wasm-unknown -buildmode=c-shared -scheduler=none -gc=precise
  -panic=trap -opt=2 -no-debug -stack-size=64kb
)

# The settings of the one who builds must not reach the bytes.
unset GOFLAGS GOEXPERIMENT GOTOOLCHAIN WASMOPT
export GOTOOLCHAIN=local GOWORK=off

mkdir -p "$output"
for module in cache routing; do
  "$tinygo" build "${flags[@]}" -o "$output/$module.wasm" "./cmd/$module"
  go run ./tools/declare "cmd/$module" "${module^}Exports" >"$output/$module.d.ts"
  printf '%s: %s bytes\n' "$output/$module.wasm" "$(wc -c <"$output/$module.wasm" | tr -d ' ')"
done

#!/usr/bin/env bash
# Builds the Go modules for WebAssembly and their TypeScript declarations.
#   wasm-go/build.sh [OUTPUT FOLDER]     default: wasm-go/dist
#   wasm-go/build.sh --versions          names the tools that it would use
# Needs Go and TinyGo: the `tinygo` on PATH, else the one that infra/toolchains installed. The bytes depend on the
# sources and on these two versions alone; `npm run wasm:check -- --rebuild` holds the build to that.
set -euo pipefail
output=${1:-$(dirname "$0")/dist}
case $output in /* | --versions) ;; *) output=$PWD/$output ;; esac
cd "$(dirname "$0")"
. ../infra/toolchains/environment.sh
find_tinygo

if [ "$output" = --versions ]; then
  echo "tinygo $("$tinygo" version | sed -E 's/^tinygo version ([^ ]+) .* LLVM version ([^)]+)\)$/\1 llvm \2/')"
  go env GOVERSION | sed 's/^go/go /'
  # TinyGo runs the wasm-opt beside itself, else the one on PATH.
  PATH="$(dirname "$tinygo"):$PATH" wasm-opt --version | sed -E 's/^wasm-opt version ([^ ]+).*/wasm-opt \1/'
  exit
fi

# wasm-unknown has no imports, so no host needs a shim. The default stack of 4 KB is too small for Go's own fmt and
# sort; with "precise" garbage collection a path that never allocates stays at its memory for ever.
flags=(
  -target wasm-unknown -buildmode=c-shared -scheduler=none -gc=precise
  -panic=trap -opt=2 -no-debug -stack-size=64kb
)

mkdir -p "$output"
for module in cache:CacheExports routing:RoutingExports; do
  exports=${module#*:}
  module=${module%:*}
  "$tinygo" build "${flags[@]}" -o "$output/$module.wasm" "./cmd/$module"
  go run ./tools/declare "cmd/$module" "$exports" >"$output/$module.d.ts"
  printf '%s: %s bytes\n' "$module.wasm" "$(wc -c <"$output/$module.wasm" | tr -d ' ')"
done

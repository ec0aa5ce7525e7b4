#!/usr/bin/env bash
# Builds the WebAssembly packages.
#   wasm-rust/build.sh [OUTPUT FOLDER]   default: wasm-rust/pkg, as committed
#   wasm-rust/build.sh --versions        names the tools that it would use
# Needs Rust for wasm32-unknown-unknown, wasm-bindgen and wasm-opt: those on PATH, else those that infra/toolchains
# installed. The bytes depend on the sources and on the tools' versions alone, not on the folder, the home or cargo's
# cache. WASM_TARGET_DIRECTORY moves the build's own files.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/../infra/toolchains/environment.sh"
find_rust
find_wasm_bindgen
find_wasm_opt

if [ "${1:-}" = --versions ]; then
  echo "rustc $(rustc --version | cut -d' ' -f2)"
  echo "wasm-bindgen $("$wasm_bindgen" --version | cut -d' ' -f2)"
  echo "wasm-opt $("$wasm_opt" --version | cut -d' ' -f3)"
  exit
fi

out=${1:-$here/pkg}
mkdir -p "$out"
out=$(cd "$out" && pwd -P)
target=wasm32-unknown-unknown
build=${WASM_TARGET_DIRECTORY:-$here/target/wasm}
(cd "$here" && cargo fetch --quiet --locked --target "$target")
hide_paths "$rust_sysroot" "$here"

plain="--enable-bulk-memory --enable-nontrapping-float-to-int --enable-sign-ext --enable-mutable-globals
  --enable-reference-types --enable-multivalue --enable-simd"

compile() { # crate, target features, further wasm-opt options, result
  (cd "$here" && RUSTFLAGS="-C target-feature=$2 $hidden_paths" CARGO_INCREMENTAL=0 \
    cargo build --quiet --locked --lib --release -p "$1" --target $target --target-dir "$build/$2")
  cp "$build/$2/$target/release/${1//-/_}.wasm" "$build/$4.wasm"
}

bind() { # input name, package name
  rm -rf "$build/$1-pkg"
  "$wasm_bindgen" --target web --omit-default-module-path --experimental-reset-state-function \
    --out-name "$2" --out-dir "$build/$1-pkg" "$build/$1.wasm"
  # An object of an instance that was replaced must not free memory of the new one.
  sed -i -E 's/^( +)(wasm\.__wbg_[a-z]+_free\(ptr, 0\);)$/\1if (ptr !== 0 \&\& this.__wbg_inst === __wbg_instance_id) \2/' \
    "$build/$1-pkg/$2.js"
}

optimise() { # input, output, further options...
  local input=$1 output=$2; shift 2
  # shellcheck disable=SC2086
  "$wasm_opt" -O3 --strip-debug --strip-producers $plain "$@" "$input" -o "$output"
}

package() { # folder, file name, npm name, description, wasm files...
  local folder=$1 name=$2 npm=$3 description=$4; shift 4
  local files=""; for file in "$@"; do files="$files\"$file\", "; done
  cat >"$folder/package.json" <<JSON
{
  "name": "$npm",
  "type": "module",
  "description": "$description",
  "version": "0.1.0",
  "license": "Apache-2.0",
  "private": true,
  "files": [$files"$name.js", "$name.d.ts"],
  "main": "$name.js",
  "types": "$name.d.ts",
  "sideEffects": false
}
JSON
}

inference() {
  local name=treeline_inference folder=$out/inference
  mkdir -p "$build" "$folder"
  compile inference-wasm +simd128,+relaxed-simd "" relaxed
  compile inference-wasm +simd128 "" plain
  bind relaxed $name
  bind plain $name
  cmp "$build/relaxed-pkg/$name.js" "$build/plain-pkg/$name.js"
  cmp "$build/relaxed-pkg/$name.d.ts" "$build/plain-pkg/$name.d.ts"
  optimise "$build/relaxed-pkg/${name}_bg.wasm" "$folder/${name}_bg.wasm" --enable-relaxed-simd
  optimise "$build/plain-pkg/${name}_bg.wasm" "$folder/${name}_plain_bg.wasm"
  cp "$build/relaxed-pkg/$name.js" "$build/relaxed-pkg/$name.d.ts" "$folder/"
  package "$folder" $name @treeline/inference "Text embeddings in the isolate, in Rust" \
    ${name}_bg.wasm ${name}_plain_bg.wasm
}

model_tool() {
  local name=treeline_model_tool folder=$out/model-tool
  mkdir -p "$folder"
  compile model-tool-wasm +simd128,+relaxed-simd "" tool
  bind tool $name
  optimise "$build/tool-pkg/${name}_bg.wasm" "$folder/${name}_bg.wasm" --enable-relaxed-simd
  cp "$build/tool-pkg/$name.js" "$build/tool-pkg/$name.d.ts" "$folder/"
  package "$folder" $name @treeline/model-tool "Makes Treeline's model files" ${name}_bg.wasm
}

# Decisions that must be the same on every host use plain SIMD alone: relaxed instructions may differ.
search() {
  local name=treeline_search folder=$out/search
  mkdir -p "$folder"
  compile search-wasm +simd128 "" search
  bind search $name
  optimise "$build/search-pkg/${name}_bg.wasm" "$folder/${name}_bg.wasm"
  cp "$build/search-pkg/$name.js" "$build/search-pkg/$name.d.ts" "$folder/"
  package "$folder" $name @treeline/search "Tree search over models' answers" ${name}_bg.wasm
}

analytics() {
  local name=treeline_analytics folder=$out/analytics
  mkdir -p "$folder"
  compile analytics-wasm +simd128 "" analytics
  bind analytics $name
  optimise "$build/analytics-pkg/${name}_bg.wasm" "$folder/${name}_bg.wasm"
  cp "$build/analytics-pkg/$name.js" "$build/analytics-pkg/$name.d.ts" "$folder/"
  package "$folder" $name @treeline/analytics "Bandits and parameter analytics in the isolate" ${name}_bg.wasm
}

inference
model_tool
analytics
search

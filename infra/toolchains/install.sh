#!/usr/bin/env bash
# Installs what builds the WebAssembly modules, from package registries alone, and only what is missing: TinyGo, Rust
# for wasm32-unknown-unknown, wasm-bindgen and wasm-opt. Tools that are there already are used as they are. Where all
# is there this takes a second.
#   npm run toolchains               both languages
#   infra/toolchains/install.sh go   one of them (go or rust)
# TREELINE_TOOLCHAINS says where to (default /opt). Debian 12 on amd64, as root; elsewhere it says what to install.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/environment.sh"
. "$here/debian.sh"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
wanted=${1:-all}
case $wanted in go | rust | all) ;; *) echo "usage: install.sh [go|rust]" >&2 && exit 2 ;; esac

install_go() {
  if ! (find_tinygo) 2>/dev/null; then
    bash "$here/tinygo.sh"
  fi
  find_tinygo
  say "TinyGo: $("$tinygo" version) at $tinygo"
}

install_rust() {
  if ! (find_rust) 2>/dev/null; then
    bash "$here/rust-wasm.sh"
  fi
  if ! (find_wasm_opt) 2>/dev/null; then
    say "wasm-opt of binaryen $binaryen_version from npm"
    run_quietly "$log" npm install --no-audit --no-fund --ignore-scripts \
      --prefix "$toolchains/wasm-tools" "binaryen@$binaryen_version"
    chmod +x "$toolchains/wasm-tools/node_modules/binaryen/bin/wasm-opt"
  fi
  if ! (find_wasm_bindgen) 2>/dev/null; then
    install_wasm_bindgen
  fi
  find_rust && find_wasm_opt && find_wasm_bindgen
  say "Rust: $(rustc --version) in $rust_sysroot"
  say "wasm-bindgen: $("$wasm_bindgen" --version) at $wasm_bindgen"
  say "wasm-opt: $("$wasm_opt" --version) at $wasm_opt"
}

# Built for this machine by whichever Rust it has; its own compiler does not show in what it writes.
install_wasm_bindgen() {
  say "wasm-bindgen $wasm_bindgen_version from its source (about 5 minutes of CPU time)"
  (
    command -v cargo >/dev/null || find_rust
    run_quietly "$log" cargo install --locked --root "$toolchains/wasm-tools" \
      wasm-bindgen-cli --version "$wasm_bindgen_version"
  )
}

[ "$wanted" = rust ] || install_go
[ "$wanted" = go ] || install_rust

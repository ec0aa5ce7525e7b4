# Finds the tools of the WebAssembly builds. Sourced by wasm-go/build.sh and wasm-rust/build.sh. What the user has on
# PATH comes first, what install.sh has put under $TREELINE_TOOLCHAINS second.
. "$(dirname "${BASH_SOURCE[0]}")/versions.sh"

missing_tool() {
  echo "$1 is missing. 'npm run toolchains' installs it under $toolchains (on Debian); elsewhere install it by hand." >&2
  return 1
}

# The settings of the one who builds must not reach the bytes.
unset GOFLAGS GOEXPERIMENT GOWORK WASMOPT RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET CARGO_BUILD_RUSTFLAGS
export GOTOOLCHAIN=local GOWORK=off SOURCE_DATE_EPOCH=0 LC_ALL=C

# Sets tinygo to the path of TinyGo, or fails.
find_tinygo() {
  tinygo=$(command -v tinygo || echo "$toolchains/tinygo/bin/tinygo")
  [ -x "$tinygo" ] || missing_tool TinyGo || return
  command -v go >/dev/null || missing_tool Go
}

# Sets wasm_opt, or fails.
find_wasm_opt() {
  wasm_opt=$toolchains/wasm-tools/node_modules/.bin/wasm-opt
  [ -x "$wasm_opt" ] || wasm_opt=$(command -v wasm-opt) || missing_tool "wasm-opt of binaryen $binaryen_version"
}

# Sets wasm_bindgen, or fails. Its version must be that of the crate, so the one on PATH is taken only where it is.
find_wasm_bindgen() {
  for wasm_bindgen in "$(command -v wasm-bindgen || true)" "$toolchains/wasm-tools/bin/wasm-bindgen"; do
    [ -x "$wasm_bindgen" ] && [ "$("$wasm_bindgen" --version)" = "wasm-bindgen $wasm_bindgen_version" ] && return
  done
  missing_tool "wasm-bindgen $wasm_bindgen_version"
}

# Prepares cargo and rustc for wasm32-unknown-unknown: the user's own where rustup has the target, else Debian's. Sets
# rust_sysroot, the folder that `hide_paths` is to hide.
find_rust() {
  if rustup_has_target; then
    rust_sysroot=$(rustc --print sysroot)
    return
  fi
  rust_home=$toolchains/rust-web/usr
  rust_sysroot=$rust_home
  [ -d "$rust_home/lib/rustlib/wasm32-unknown-unknown/lib" ] || missing_tool "Rust for wasm32-unknown-unknown" || return
  use_debian_rust
}

rustup_has_target() {
  command -v rustup >/dev/null && rustup target list --installed 2>/dev/null | grep -qx wasm32-unknown-unknown
}

# Debian's rustc finds its own library by the system's search path, which must not list a second copy: so the search
# path is set for the builds alone. Its cargo takes the rustc beside it.
use_debian_rust() {
  export PATH="$rust_home/bin:$PATH" RUSTC="$rust_home/bin/rustc"
  export LD_LIBRARY_PATH="$rust_home/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-$rust_linker_version
  unset RUSTUP_TOOLCHAIN
}

# hide_paths RUST_FOLDER [SOURCE_FOLDER]: sets hidden_paths to the options of rustc that replace this machine's folders
# by fixed names. The place of a panic is text in the module: without this it would tell where it was built, and two
# machines would build different bytes. Each registry has a folder named for its host, which is to be hidden too; cargo
# makes it when it first fetches, so fetch before calling this.
hide_paths() {
  local cargo_home=${CARGO_HOME:-$HOME/.cargo} registry
  hidden_paths="--remap-path-prefix=$1=/rust --remap-path-prefix=$cargo_home=/cargo"
  for registry in "$cargo_home"/registry/src/*; do
    hidden_paths+=" --remap-path-prefix=$registry=/cargo/registry"
  done
  [ -z "${2:-}" ] || hidden_paths+=" --remap-path-prefix=$2=/treeline"
}

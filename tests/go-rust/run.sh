#!/usr/bin/env bash
# The boundary between the pool's server (Go) and its engine (Rust), tested from both sides over ffi, shm and grpc: tensors
# of every type, a million calls without a leak, workers killed a hundred times, malformed calls, other versions, Go's race
# detector, and the C ABI under valgrind. Needs pool/dist (pool/build.sh engine), go, a C compiler, and valgrind.
#
#   tests/go-rust/run.sh [suite] [race] [abi] [sanitizer]     these parts; none named: the first three
#
# sanitizer builds the library once more with nightly Rust's AddressSanitizer, which takes minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."
project="$PWD"
parts=("$@")
[[ ${#parts[@]} -gt 0 ]] || parts=(suite race abi)
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# A part that could not run is a failure: nothing is skipped in silence.
export CI=true
[[ -x pool/dist/treeline-engine && -f pool/dist/libtreeline_engine.a ]] || {
  echo "There is no engine in pool/dist: run pool/build.sh engine." >&2
  exit 2
}

packages=(./engine/... ./rust/... ./ipc/...)

suite() { (cd pool/server && go test -count=1 -tags ffi "${packages[@]}"); }

# The million calls are left out: the detector makes them too slow, and sees all it can in the first thousands.
race() { (cd pool/server && go test -count=1 -race -short -tags ffi "${packages[@]}"); }

# abi_program LIBRARY FLAG...: tests/go-rust/abi.c, linked with a library.
abi_program() {
  local library="$1"
  shift
  "${CC:-cc}" -std=c11 -O1 -g -Wall -Wextra -Werror "$@" -I pool/engine/engine-ffi/include tests/go-rust/abi.c \
    "$library" -lm -ldl -lpthread -lgcc_s -o "$work/abi"
  mkdir -p "$work/models/identity"
  echo '{"backend": "identity"}' > "$work/models/identity/model.json"
  sed -n 's/^const Hash = "\(.*\)"$/\1/p' pool/server/gen/contract/hash.go > "$work/hash"
}

abi() {
  command -v valgrind > /dev/null || { echo "valgrind is missing: apt-get install valgrind." >&2; return 2; }
  abi_program pool/dist/libtreeline_engine.a
  valgrind --quiet --error-exitcode=1 --leak-check=full --show-leak-kinds=definite,indirect \
    --errors-for-leak-kinds=definite,indirect "$work/abi" "$(< "$work/hash")" "$work/models" 3
}

sanitizer() {
  local target="${CARGO_TARGET_DIR:-$project/pool/engine/target}/address-sanitizer" host
  host="$(rustc -vV | sed -n 's/^host: //p')"
  (cd pool/engine && RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR="$target" \
    cargo +nightly build --release --locked --no-default-features -p engine-ffi --target "$host")
  CC="${SANITIZER_CC:-clang}" abi_program "$target/$host/release/libtreeline_engine.a" -fsanitize=address
  ASAN_OPTIONS=detect_leaks=1 "$work/abi" "$(< "$work/hash")" "$work/models" 200
}

for part in "${parts[@]}"; do
  case "$part" in
    suite | race | abi | sanitizer) echo "== $part"; "$part" ;;
    *) echo "There is no part \"$part\": suite, race, abi or sanitizer." >&2; exit 2 ;;
  esac
done

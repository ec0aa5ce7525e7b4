# The versions that the committed WebAssembly modules were built with, and where the tools are put. Sourced, not run.
# A module built with other versions is allowed (it must pass all tests); with these its bytes must be equal.
tinygo_version=0.41.1
# What `go mod download` must report for that version of TinyGo's source.
tinygo_sum=h1:Hp1Frc4zQALL88t49XraSZEwkIYEjMOmmurlmsTigzE=
llvm_version=19 # the LLVM that this TinyGo is made for
go_minor_min=24 # TinyGo 0.41 takes Go 1.24 to 1.26
go_minor_max=26
rust_version=1.96          # Debian's rustc-web
rust_linker_version=22     # the lld of the same LLVM
wasm_bindgen_version=0.2.129 # equal to the crate's version in wasm-rust/Cargo.lock
binaryen_version=132.0.0

# Everything is installed under this folder: tinygo/, rust-web/, wasm-tools/.
toolchains=${TREELINE_TOOLCHAINS:-/opt}

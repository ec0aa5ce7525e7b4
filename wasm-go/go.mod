module treeline/wasm-go

go 1.24

//go:build !ffi

package main

// engineDefault is the kind where --engine says nothing: without the engine linked in, it is a process.
const engineDefault = "shm"

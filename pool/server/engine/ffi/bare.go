//go:build ffi

package ffi

/*
#cgo noescape treeline_bare_call
#cgo nocallback treeline_bare_call
static void treeline_bare_call(void) {}
*/
import "C"

// BareCall calls a C function that does nothing: what a call's cost is measured against.
func BareCall() { C.treeline_bare_call() }

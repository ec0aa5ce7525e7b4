// Command routing binds package routing to WebAssembly: one instance holds one router. Times are milliseconds since the
// Unix epoch in a float64 (a whole number of them is exact).
package main

import "treeline/wasm-go/routing"

var router routing.Router

// Replaces all upstreams by `count` new ones (0 to 256) of weight 1 that nothing is known of. Answers 0, or 1 where
// `count` is out of range.
//
//go:wasmexport reset
func reset(count int32) int32 {
	if router.Reset(int(count)) != nil {
		return 1
	}
	return 0
}

// Changes the weight of one upstream (0 to 1,000,000; 0 takes it out of service) and nothing else that is known of it.
// Answers 0, or 1 where `weight` is out of range. This and every other function that takes an upstream traps where
// there is none at that index.
//
//go:wasmexport setWeight
func setWeight(upstream int32, weight float64) int32 {
	if router.SetWeight(int(upstream), weight) != nil {
		return 1
	}
	return 0
}

// The upstream for a call that begins now, or -1 where none is in service. The two fractions, random in [0, 1), decide.
//
//go:wasmexport choose
func choose(nowMs float64, fractionA float64, fractionB float64) int32 {
	return int32(router.Choose(whole(nowMs), fractionA, fractionB))
}

// Counts a call that begins. Each must be followed by one `end`.
//
//go:wasmexport begin
func begin(upstream int32, nowMs float64) { router.Begin(int(upstream), whole(nowMs)) }

// Counts the end of a call that took `latencyMs`; `succeeded` is 1 or 0.
//
//go:wasmexport end
func end(upstream int32, nowMs float64, latencyMs float64, succeeded int32) {
	router.End(int(upstream), whole(nowMs), latencyMs, succeeded != 0)
}

// When the first upstream of those left out is in service again, or -1 where none is left out.
//
//go:wasmexport nextInServiceMs
func nextInServiceMs(nowMs float64) float64 { return float64(router.NextInServiceMs(whole(nowMs))) }

// Calls of one upstream that have begun and not ended.
//
//go:wasmexport inFlight
func inFlight(upstream int32) int32 { return router.Upstream(int(upstream)).InFlight }

// The moving average of one upstream's latency over the calls that succeeded, or 0 while there was none.
//
//go:wasmexport latencyMs
func latencyMs(upstream int32) float64 { return router.Upstream(int(upstream)).LatencyMs }

// Calls of one upstream that failed since the last that succeeded.
//
//go:wasmexport failures
func failures(upstream int32) int32 { return router.Upstream(int(upstream)).Failures }

// The time before which one upstream is left out; a past one, or 0, where it is not.
//
//go:wasmexport ejectedUntilMs
func ejectedUntilMs(upstream int32) float64 {
	return float64(router.Upstream(int(upstream)).EjectedUntilMs)
}

// wholeMax is the largest magnitude up to which a float64 holds every whole number.
const wholeMax = 1 << 53

// whole makes a whole number of a float64 from the host, in its range: converting NaN or infinity would otherwise
// depend on the platform. NaN becomes the lowest value.
func whole(value float64) int64 {
	if value > wholeMax {
		return wholeMax
	}
	if !(value >= -wholeMax) {
		return -wholeMax
	}
	return int64(value)
}

func main() {}

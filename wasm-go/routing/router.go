// Package routing chooses the upstream of a call: of two candidates drawn by weight the less loaded one, where load is
// the latency seen lately times the calls in flight. Two draws keep nearly all of the benefit of asking everyone, and
// avoid the stampede onto whoever looked best last (Mitzenmacher, "The Power of Two Choices in Randomized Load
// Balancing", 2001).
//
// The router is a deterministic state machine: time and randomness are arguments, and nothing is allocated after New.
package routing

import "errors"

const (
	// UpstreamsMax bounds the number of upstreams of one router.
	UpstreamsMax = 256
	// WeightMax bounds an upstream's weight.
	WeightMax = 1e6
	// FailuresToEject is how many calls must fail in a row before an upstream is left out.
	FailuresToEject = 5
	// CoolDownMs is how long an upstream is left out the first time. It doubles with each ejection in a row.
	CoolDownMs = 10_000
	// CoolDownMsMax is the longest that an upstream is left out.
	CoolDownMsMax = 300_000
	// LatencyWeight is the share of a new latency in the moving average: the last five or so calls count.
	LatencyWeight = 0.2
	// ForgetMs is how long an upstream must be idle for its average to count half. Without forgetting, one slow answer
	// would keep an upstream from ever being tried again.
	ForgetMs = 10_000
	// LatencyMsMax bounds a latency: an hour in milliseconds. A longer one counts as this.
	LatencyMsMax = 3_600_000
	// None stands for "no upstream".
	None = -1
)

var (
	// ErrUpstreams says that the number of upstreams is out of range.
	ErrUpstreams = errors.New("routing: upstreams must be in 0..256")
	// ErrWeight says that a weight is out of range.
	ErrWeight = errors.New("routing: weight must be in 0..1e6")
)

// Upstream is what the router knows of one upstream.
type Upstream struct {
	Weight         float64 // its share of the draws; 0 takes it out of service
	InFlight       int32   // calls that have begun and not ended
	LatencyMs      float64 // moving average of the calls that succeeded; 0 while there was none
	Failures       int32   // calls that failed since the last that succeeded
	Ejections      int32   // ejections since the last call that succeeded
	EjectedUntilMs int64   // left out before this time
	usedAtMs       int64   // when a call last began or ended
}

// Router chooses among up to UpstreamsMax upstreams, named by their index. The zero value has none.
type Router struct {
	upstreams [UpstreamsMax]Upstream
	count     int
}

// Reset replaces all upstreams by count new ones with weight 1 that nothing is known of.
func (router *Router) Reset(count int) error {
	if count < 0 || count > UpstreamsMax {
		return ErrUpstreams
	}
	for i := range router.upstreams {
		router.upstreams[i] = Upstream{Weight: 1}
	}
	router.count = count
	return nil
}

// SetWeight changes one upstream's weight (0..WeightMax) and nothing else that is known of it.
func (router *Router) SetWeight(at int, weight float64) error {
	if !(weight >= 0 && weight <= WeightMax) {
		return ErrWeight
	}
	router.upstreams[:router.count][at].Weight = weight
	return nil
}

// Len is the number of upstreams.
func (router *Router) Len() int { return router.count }

// Upstream returns a copy of what is known of one upstream.
func (router *Router) Upstream(at int) Upstream { return router.upstreams[:router.count][at] }

// Choose returns the upstream for a call that begins at nowMs, or None where none is in service. The two fractions, in
// [0, 1), decide the draws.
func (router *Router) Choose(nowMs int64, fractionA, fractionB float64) int {
	first := router.draw(nowMs, fractionA, None)
	if first == None {
		return None
	}
	second := router.draw(nowMs, fractionB, first)
	if second == None {
		return first
	}
	// The first draw wins a tie, so that equal upstreams share the calls by weight.
	typical := router.typicalLatencyMs(nowMs)
	if router.upstreams[second].load(nowMs, typical) < router.upstreams[first].load(nowMs, typical) {
		return second
	}
	return first
}

// NextInServiceMs returns when the first upstream of those left out is in service again, or -1 where none is left out:
// what a refusal may say about when to try again.
func (router *Router) NextInServiceMs(nowMs int64) int64 {
	next := int64(-1)
	for i := range router.upstreams[:router.count] {
		upstream := &router.upstreams[i]
		if upstream.Weight > 0 && upstream.EjectedUntilMs > nowMs && (next < 0 || upstream.EjectedUntilMs < next) {
			next = upstream.EjectedUntilMs
		}
	}
	return next
}

// Begin counts a call that begins. Each must be followed by one End.
func (router *Router) Begin(at int, nowMs int64) {
	upstream := &router.upstreams[:router.count][at]
	upstream.InFlight++
	upstream.usedAtMs = nowMs
}

// End counts the end of a call that took latencyMs. A failure does not enter the average, or an upstream that fails
// fast would look like the best of all; FailuresToEject of them in a row leave the upstream out for a while. After
// that time it is in service again, but on trial: the next failure ejects it at once, for longer, and only a success
// clears its record.
func (router *Router) End(at int, nowMs int64, latencyMs float64, succeeded bool) {
	upstream := &router.upstreams[:router.count][at]
	// An End without its Begin is one of a call from before a Reset.
	upstream.InFlight = max(upstream.InFlight-1, 0)
	if succeeded {
		upstream.succeed(latencyMs)
	} else {
		upstream.fail(nowMs)
	}
	upstream.usedAtMs = nowMs
}

// draw picks an upstream in service other than the excluded one, each with a probability by its weight.
func (router *Router) draw(nowMs int64, fraction float64, excluded int) int {
	total := 0.0
	for i := range router.upstreams[:router.count] {
		if i != excluded && router.upstreams[i].inService(nowMs) {
			total += router.upstreams[i].Weight
		}
	}
	// The conversion keeps the product from being fused into the subtraction below on some processors and not others.
	rest := float64(fraction * total)
	drawn := None
	for i := range router.upstreams[:router.count] {
		if i == excluded || !router.upstreams[i].inService(nowMs) {
			continue
		}
		drawn = i
		if rest < router.upstreams[i].Weight {
			break
		}
		rest -= router.upstreams[i].Weight
	}
	return drawn
}

// typicalLatencyMs is the mean over the upstreams in service whose latency is known, or 1 where none is: what a new
// upstream is taken to need. A smaller guess would send every call to it until its first answer.
func (router *Router) typicalLatencyMs(nowMs int64) float64 {
	total, known := 0.0, 0
	for i := range router.upstreams[:router.count] {
		upstream := &router.upstreams[i]
		if upstream.inService(nowMs) && upstream.LatencyMs > 0 {
			total += upstream.recentLatencyMs(nowMs)
			known++
		}
	}
	if known == 0 {
		return 1
	}
	return total / float64(known)
}

package routing

// latencyMsMin keeps a latency of nought from looking like one that is not known.
const latencyMsMin = 0.001

func (upstream *Upstream) inService(nowMs int64) bool {
	return upstream.Weight > 0 && upstream.EjectedUntilMs <= nowMs
}

// load is how long a further call would take: the recent latency, once for itself and once for each call in flight that
// it shares a unit of weight with.
func (upstream *Upstream) load(nowMs int64, typicalMs float64) float64 {
	latencyMs := typicalMs
	if upstream.LatencyMs > 0 {
		latencyMs = upstream.recentLatencyMs(nowMs)
	}
	return latencyMs * (1 + float64(upstream.InFlight)/upstream.Weight)
}

// recentLatencyMs is the average, fading while no call begins or ends: half after ForgetMs, a hundredth after ten times
// that. A quotient fades as well as the usual exponential and, unlike it, gives the same bits on every processor.
func (upstream *Upstream) recentLatencyMs(nowMs int64) float64 {
	idle := float64(max(nowMs-upstream.usedAtMs, 0)) / ForgetMs
	return upstream.LatencyMs / (1 + float64(idle*idle))
}

func (upstream *Upstream) succeed(latencyMs float64) {
	upstream.Failures = 0
	upstream.Ejections = 0
	upstream.EjectedUntilMs = 0
	if !(latencyMs >= latencyMsMin) {
		latencyMs = latencyMsMin
	}
	latencyMs = min(latencyMs, LatencyMsMax)
	if upstream.LatencyMs == 0 {
		upstream.LatencyMs = latencyMs
		return
	}
	upstream.LatencyMs += float64(LatencyWeight * (latencyMs - upstream.LatencyMs))
}

func (upstream *Upstream) fail(nowMs int64) {
	upstream.Failures++
	// Calls that began before the ejection may fail during it: they tell nothing new.
	if upstream.Failures < FailuresToEject || upstream.EjectedUntilMs > nowMs {
		return
	}
	coolDownMs := int64(CoolDownMs)
	for range upstream.Ejections {
		coolDownMs = min(2*coolDownMs, CoolDownMsMax)
	}
	upstream.EjectedUntilMs = nowMs + coolDownMs
	// More ejections than this no longer change the time.
	upstream.Ejections = min(upstream.Ejections+1, 16)
}

package routing

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestOutOfRangeUpstreamsAndWeightsAreRefused(t *testing.T) {
	var router Router
	for count, want := range map[int]error{-1: ErrUpstreams, 0: nil, UpstreamsMax: nil, UpstreamsMax + 1: ErrUpstreams} {
		if err := router.Reset(count); !errors.Is(err, want) {
			t.Errorf("Reset(%d): %v, want %v", count, err, want)
		}
	}
	_ = router.Reset(1)
	for weight, want := range map[float64]error{0: nil, WeightMax: nil, -0.1: ErrWeight, WeightMax * 1.1: ErrWeight, math.Inf(1): ErrWeight} {
		if err := router.SetWeight(0, weight); !errors.Is(err, want) {
			t.Errorf("SetWeight(%v): %v, want %v", weight, err, want)
		}
	}
	if err := router.SetWeight(0, math.NaN()); !errors.Is(err, ErrWeight) {
		t.Errorf("SetWeight(NaN): %v", err)
	}
}

func TestNoneIsChosenWhereNoneIsInService(t *testing.T) {
	router := newRouter(t)
	if got := router.Choose(0, 0.5, 0.5); got != None {
		t.Errorf("of no upstreams %d was chosen", got)
	}
	router = newRouter(t, 0, 0)
	if got := router.Choose(0, 0.5, 0.5); got != None {
		t.Errorf("of two with weight 0, %d was chosen", got)
	}
}

func TestEqualUpstreamsShareTheCallsByWeight(t *testing.T) {
	source, seed := newSource(t)
	router := newRouter(t, 1, 2, 5, 0)
	counts := [4]float64{}
	const calls = 80_000
	for range calls {
		counts[router.Choose(0, source.Float64(), source.Float64())]++
	}
	for i, want := range []float64{1.0 / 8, 2.0 / 8, 5.0 / 8, 0} {
		// Five standard deviations of a share over this many calls are below 0.9 %.
		if got := counts[i] / calls; math.Abs(got-want) > 0.009 {
			t.Errorf("seed %d: upstream %d got %.4f of the calls, want %.4f", seed, i, got, want)
		}
	}
}

func TestOfTwoTheLessLoadedIsChosen(t *testing.T) {
	source, seed := newSource(t)
	router := newRouter(t, 1, 1)
	succeed(router, 0, 0, 100)
	succeed(router, 1, 0, 100)
	for range 3 {
		router.Begin(1, 0)
	}
	for range 1000 {
		if got := router.Choose(0, source.Float64(), source.Float64()); got != 0 {
			t.Fatalf("seed %d: the upstream with three calls in flight was chosen", seed)
		}
	}
	// A hundred times the latency outweighs three calls in flight.
	for range 40 {
		succeed(router, 0, 0, 10_000)
	}
	if got := router.Choose(0, source.Float64(), source.Float64()); got != 1 {
		t.Errorf("seed %d: the slow upstream was chosen", seed)
	}
}

func TestTheMoreLoadedOfAllIsNeverChosenHoweverTheDrawsFall(t *testing.T) {
	source, seed := newSource(t)
	router := newRouter(t, 1, 3, 0.5, 2)
	router.Begin(2, 0)
	for range 10_000 {
		if router.Choose(0, source.Float64(), source.Float64()) == 2 {
			t.Fatalf("seed %d: two distinct draws cannot both be the most loaded upstream", seed)
		}
	}
}

func TestASlowUpstreamIsTriedAgainOnceItsAverageHasFaded(t *testing.T) {
	router := newRouter(t, 1, 1)
	succeed(router, 0, 0, 10)
	succeed(router, 1, 0, 1000)
	for nowMs := int64(0); nowMs < 200_000; nowMs += 100 {
		chosen := router.Choose(nowMs, 0.25, 0.25)
		if chosen == 1 {
			if nowMs < ForgetMs {
				t.Errorf("tried again after %d ms already", nowMs)
			}
			return
		}
		succeed(router, chosen, nowMs, 10)
	}
	t.Error("never tried again in 200 s")
}

func TestFailuresInARowLeaveAnUpstreamOutForAWhile(t *testing.T) {
	router := newRouter(t, 1, 1)
	for range FailuresToEject - 1 {
		fail(router, 0, 0)
	}
	succeed(router, 0, 0, 5)
	for range FailuresToEject - 1 {
		fail(router, 0, 0)
	}
	if router.Upstream(0).EjectedUntilMs != 0 {
		t.Fatal("ejected though a success lay between the failures")
	}
	fail(router, 0, 0)
	for _, fraction := range []float64{0, 0.3, 0.6, 0.999} {
		if got := router.Choose(CoolDownMs-1, fraction, 1-fraction); got != 1 {
			t.Errorf("the ejected upstream was chosen")
		}
	}
	if got := router.NextInServiceMs(1); got != CoolDownMs {
		t.Errorf("in service again at %d, want %d", got, CoolDownMs)
	}
	if got := router.NextInServiceMs(CoolDownMs); got != -1 {
		t.Errorf("all in service, yet one returns at %d", got)
	}
	if !router.upstreams[0].inService(CoolDownMs) {
		t.Error("not in service again after the cool-down")
	}
}

func TestEachFurtherFailureDoublesTheCoolDownUpToItsMaximum(t *testing.T) {
	router := newRouter(t, 1)
	nowMs := int64(0)
	for range FailuresToEject - 1 {
		fail(router, 0, nowMs)
	}
	for _, want := range []int64{10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000} {
		fail(router, 0, nowMs)
		if got := router.Upstream(0).EjectedUntilMs - nowMs; got != want {
			t.Fatalf("left out for %d ms, want %d", got, want)
		}
		fail(router, 0, nowMs+1) // late news of a call from before
		nowMs += want
		if got := router.Upstream(0).EjectedUntilMs; got != nowMs {
			t.Fatalf("late news moved the end to %d, want %d", got, nowMs)
		}
	}
	succeed(router, 0, nowMs, 1)
	if state := router.Upstream(0); state.Failures != 0 || state.Ejections != 0 {
		t.Errorf("a success left %+v", state)
	}
}

func TestAFailureSaysNothingOfLatency(t *testing.T) {
	router := newRouter(t, 1)
	succeed(router, 0, 0, 100)
	router.Begin(0, 0)
	router.End(0, 0, 1, false)
	if got := router.Upstream(0).LatencyMs; got != 100 {
		t.Errorf("latency %v, want 100", got)
	}
}

func TestBadLatenciesAreBroughtIntoRange(t *testing.T) {
	for given, want := range map[float64]float64{-5: latencyMsMin, 0: latencyMsMin, math.Inf(1): LatencyMsMax, 7: 7} {
		router := newRouter(t, 1)
		succeed(router, 0, 0, given)
		if got := router.Upstream(0).LatencyMs; got != want {
			t.Errorf("latency %v became %v, want %v", given, got, want)
		}
	}
	router := newRouter(t, 1)
	succeed(router, 0, 0, math.NaN())
	if got := router.Upstream(0).LatencyMs; got != latencyMsMin {
		t.Errorf("latency NaN became %v", got)
	}
}

func TestAnEndWithoutItsBeginLeavesNoDebt(t *testing.T) {
	router := newRouter(t, 1)
	router.End(0, 0, 5, true)
	if got := router.Upstream(0).InFlight; got != 0 {
		t.Errorf("%d calls in flight", got)
	}
}

func TestChoiceAgreesWithTheTwin(t *testing.T) {
	source, seed := newSource(t)
	for round := range 300 {
		router := newRouter(t, randomWeights(source)...)
		nowMs := int64(0)
		for step := range 300 {
			nowMs += int64(source.IntN(400))
			fractionA, fractionB := source.Float64(), source.Float64()
			want := chooseSlowly(router, nowMs, fractionA, fractionB)
			got := router.Choose(nowMs, fractionA, fractionB)
			if got != want {
				t.Fatalf("seed %d, round %d, step %d: chose %d, want %d", seed, round, step, got, want)
			}
			disturb(router, source, nowMs)
		}
	}
}

func FuzzAnyChoiceIsInService(f *testing.F) {
	f.Add(int64(5), 0.1, 0.9, uint64(1))
	f.Add(int64(-5), 1.0, 1.0, uint64(2))
	f.Fuzz(func(t *testing.T, nowMs int64, fractionA, fractionB float64, seed uint64) {
		source := rand.New(rand.NewPCG(seed, 0))
		router := newRouter(t, randomWeights(source)...)
		for range 50 {
			disturb(router, source, nowMs)
		}
		chosen := router.Choose(nowMs, fractionA, fractionB)
		some := false
		for i := range router.Len() {
			some = some || router.upstreams[i].inService(nowMs)
		}
		if some != (chosen != None) || chosen != None && !router.upstreams[chosen].inService(nowMs) {
			t.Errorf("chose %d", chosen)
		}
	})
}

// chooseSlowly is the same decision written down as its definition: list the candidates, draw two, compare.
func chooseSlowly(router *Router, nowMs int64, fractionA, fractionB float64) int {
	var candidates []int
	typical, known := 0.0, 0.0
	for i := range router.Len() {
		state := router.Upstream(i)
		if state.Weight > 0 && nowMs >= state.EjectedUntilMs {
			candidates = append(candidates, i)
			if state.LatencyMs > 0 {
				typical += fade(state, nowMs)
				known++
			}
		}
	}
	if known > 0 {
		typical /= known
	} else {
		typical = 1
	}
	first, rest := drawSlowly(router, candidates, fractionA)
	second, _ := drawSlowly(router, rest, fractionB)
	if second != None && loadSlowly(router.Upstream(second), nowMs, typical) < loadSlowly(router.Upstream(first), nowMs, typical) {
		return second
	}
	return first
}

func drawSlowly(router *Router, candidates []int, fraction float64) (drawn int, others []int) {
	total := 0.0
	for _, i := range candidates {
		total += router.Upstream(i).Weight
	}
	drawn = None
	left := fraction * total
	for _, i := range candidates {
		if drawn == None && left < router.Upstream(i).Weight {
			drawn = i
			continue
		}
		left -= router.Upstream(i).Weight
		others = append(others, i)
	}
	return drawn, others
}

func loadSlowly(state Upstream, nowMs int64, typical float64) float64 {
	latencyMs := typical
	if state.LatencyMs > 0 {
		latencyMs = fade(state, nowMs)
	}
	return latencyMs * (1 + float64(state.InFlight)/state.Weight)
}

func fade(state Upstream, nowMs int64) float64 {
	idle := math.Max(float64(nowMs-state.usedAtMs), 0) / ForgetMs
	return state.LatencyMs / (1 + float64(idle*idle))
}

// disturb begins, ends or fails a few calls at random.
func disturb(router *Router, source *rand.Rand, nowMs int64) {
	for i := range router.Len() {
		switch source.IntN(6) {
		case 0:
			router.Begin(i, nowMs)
		case 1:
			router.End(i, nowMs, 1000*source.Float64(), true)
		case 2:
			router.End(i, nowMs, 1, false)
		}
	}
}

func randomWeights(source *rand.Rand) []float64 {
	weights := make([]float64, source.IntN(6))
	for i := range weights {
		weights[i] = float64(source.IntN(4))
	}
	return weights
}

func succeed(router *Router, at int, nowMs int64, latencyMs float64) {
	router.Begin(at, nowMs)
	router.End(at, nowMs, latencyMs, true)
}

func fail(router *Router, at int, nowMs int64) {
	router.Begin(at, nowMs)
	router.End(at, nowMs, 1, false)
}

func newRouter(t *testing.T, weights ...float64) *Router {
	t.Helper()
	router := new(Router)
	if err := router.Reset(len(weights)); err != nil {
		t.Fatal(err)
	}
	for i, weight := range weights {
		if err := router.SetWeight(i, weight); err != nil {
			t.Fatal(err)
		}
	}
	return router
}

func newSource(t *testing.T) (*rand.Rand, uint64) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0)), seed
}

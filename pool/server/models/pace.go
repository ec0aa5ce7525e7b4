package models

import (
	"math"
	"sync"
	"time"
)

const (
	// tokenRateWindow is how fast the rate of tokens forgets: after this time, 1/e of an old burst is left.
	tokenRateWindow = 10 * time.Second
	// firstTokenWeight is the weight of the newest time to a first token in the moving average.
	firstTokenWeight = 0.2
)

// pace keeps moving averages of generation, for the directory: tokens a second, and the time to the first token.
type pace struct {
	mutex      sync.Mutex
	rate       float64
	updatedAt  time.Time
	firstToken float64
}

// tokens counts generated tokens. The rate is a decaying count divided by the window.
func (pace *pace) tokens(now time.Time, count int) {
	pace.mutex.Lock()
	defer pace.mutex.Unlock()
	pace.decay(now)
	pace.rate += float64(count) / tokenRateWindow.Seconds()
}

func (pace *pace) decay(now time.Time) {
	if elapsed := now.Sub(pace.updatedAt); elapsed > 0 && !pace.updatedAt.IsZero() {
		pace.rate *= math.Exp(-elapsed.Seconds() / tokenRateWindow.Seconds())
	}
	pace.updatedAt = now
}

// first counts a first token that took so long.
func (pace *pace) first(elapsed time.Duration) {
	pace.mutex.Lock()
	defer pace.mutex.Unlock()
	milliseconds := float64(elapsed) / float64(time.Millisecond)
	if pace.firstToken == 0 {
		pace.firstToken = milliseconds
		return
	}
	pace.firstToken += firstTokenWeight * (milliseconds - pace.firstToken)
}

// read gives tokens a second and milliseconds to the first token.
func (pace *pace) read(now time.Time) (tokensPerSecond, firstTokenMs float64) {
	pace.mutex.Lock()
	defer pace.mutex.Unlock()
	pace.decay(now)
	return pace.rate, pace.firstToken
}

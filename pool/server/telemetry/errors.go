package telemetry

import (
	"log/slog"
	"sync"
	"time"
)

// errorsInterval is the shortest time between two reports of the exporter's failures. Without a collector every export
// fails, and one line a minute says that.
const errorsInterval = time.Minute

// exportErrors passes failures of the exporter on to the log.
type exportErrors struct {
	logger *slog.Logger
	now    func() time.Time

	lock       sync.Mutex
	last       time.Time
	suppressed int
}

// Handle is called by OpenTelemetry's SDK.
func (errors *exportErrors) Handle(err error) {
	errors.lock.Lock()
	defer errors.lock.Unlock()
	now := errors.now()
	if now.Sub(errors.last) < errorsInterval {
		errors.suppressed++
		return
	}
	errors.logger.Warn("spans cannot be exported", "reason", err, "unreported", errors.suppressed)
	errors.last, errors.suppressed = now, 0
}

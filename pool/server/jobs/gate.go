package jobs

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// gatePlaces is more than jobs can run at once on a node.
const gatePlaces = 1 << 20

// gate lets jobs run beside each other, or one alone. Whoever comes first goes first, so that a job that wants to be alone
// waits for those that run and not for those that come.
type gate struct{ places *semaphore.Weighted }

func newGate() *gate { return &gate{places: semaphore.NewWeighted(gatePlaces)} }

// enter waits for a place, or for all of them, until ctx ends. leave gives back what was taken.
func (gate *gate) enter(ctx context.Context, alone bool) (leave func(), err error) {
	taken := int64(1)
	if alone {
		taken = gatePlaces
	}
	if err := gate.places.Acquire(ctx, taken); err != nil {
		return nil, err
	}
	return func() { gate.places.Release(taken) }, nil
}

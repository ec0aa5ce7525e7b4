package engine

import (
	"context"
	"sync"
)

// Lease is how long a caller reads replies where the engine wrote them. A door that writes an answer straight from there
// takes one with WithLease, and releases it when the answer has been written; who makes calls for a context without one
// copies what must outlast the call.
type Lease struct {
	mutex    sync.Mutex
	releases []func()
	released bool
}

type leaseKey struct{}

// WithLease lets replies of calls under ctx lie in the engine's memory until the lease is released, which the caller must
// do.
func WithLease(ctx context.Context) (context.Context, *Lease) {
	lease := &Lease{}
	return context.WithValue(ctx, leaseKey{}, lease), lease
}

// LeaseOf is the lease of ctx; nil where there is none.
func LeaseOf(ctx context.Context) *Lease {
	lease, _ := ctx.Value(leaseKey{}).(*Lease)
	return lease
}

// Add lets release be called when the lease ends: at once where it has ended already.
func (lease *Lease) Add(release func()) {
	lease.mutex.Lock()
	if !lease.released {
		lease.releases = append(lease.releases, release)
		lease.mutex.Unlock()
		return
	}
	lease.mutex.Unlock()
	release()
}

// Holds tells whether memory is held now.
func (lease *Lease) Holds() bool {
	lease.mutex.Lock()
	defer lease.mutex.Unlock()
	return len(lease.releases) > 0
}

// Release gives all memory back. Nothing that was read under the lease may be used afterwards. A second call does nothing.
func (lease *Lease) Release() {
	lease.mutex.Lock()
	releases := lease.releases
	lease.releases, lease.released = nil, true
	lease.mutex.Unlock()
	for _, release := range releases {
		release()
	}
}

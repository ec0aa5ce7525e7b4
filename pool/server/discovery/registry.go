package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// Bounds and defaults of a registry.
const (
	// TimeToLive is how long an entry outlives its node, where Settings say nothing else.
	TimeToLive = 5 * time.Second
	// UpdateInterval is the shortest time between two entries that differ by their load alone.
	UpdateInterval = time.Second
	// entryBytesMax bounds an entry. etcd takes requests of 1.5 MiB, Consul values of 512 KiB.
	entryBytesMax = 500 << 10
	// nodesMax bounds the nodes that are kept; entries past it are left out and reported.
	nodesMax = 4096
	// retryMin and retryMax bound the wait after a failure; it doubles from one to the other.
	retryMin = 100 * time.Millisecond
	retryMax = 5 * time.Second
)

// Settings are the same for every registry.
type Settings struct {
	// Prefix of the entries' keys, such as /treeline/nodes/; empty: that.
	Prefix string
	// TimeToLive of an entry whose node is silent, whole seconds from 2; zero: TimeToLive.
	TimeToLive time.Duration
	// UpdateInterval between two entries of this node; zero: UpdateInterval.
	UpdateInterval time.Duration
	// Logger is told when the registry is lost and found again; nil: slog's default.
	Logger *slog.Logger
}

func (settings Settings) complete() (Settings, error) {
	if settings.Prefix == "" {
		settings.Prefix = "/treeline/nodes/"
	}
	if settings.TimeToLive == 0 {
		settings.TimeToLive = TimeToLive
	}
	if settings.TimeToLive < 2*time.Second || settings.TimeToLive%time.Second != 0 {
		return settings, fmt.Errorf("discovery: a time to live is whole seconds from 2, not %s", settings.TimeToLive)
	}
	if settings.UpdateInterval <= 0 {
		settings.UpdateInterval = UpdateInterval
	}
	if settings.Logger == nil {
		settings.Logger = slog.Default()
	}
	return settings, nil
}

// store is where entries are kept: etcd or Consul.
type store interface {
	// enter writes the entry, again after each change, and keeps it alive. It returns when ctx ends, leaving the entry;
	// and with an error when the entry is lost or cannot be written.
	enter(ctx context.Context, own *own) error
	// follow keeps nodes equal to the store's entries, until ctx ends or the store is lost.
	follow(ctx context.Context, nodes *nodes) error
	// remove deletes the entry, and what kept it alive.
	remove(ctx context.Context, id string) error
	close() error
}

// Registry is a membership in a store. It re-enters this node whenever its entry is lost, and goes on listing what it last
// saw while the store cannot be reached.
type Registry struct {
	settings Settings
	store    store
	nodes    *nodes
	own      *own
	cancel   context.CancelFunc
	running  sync.WaitGroup
	withdraw sync.Once
}

func newRegistry(settings Settings, store store) *Registry {
	ctx, cancel := context.WithCancel(context.Background())
	registry := &Registry{
		settings: settings,
		store:    store,
		nodes:    newNodes(settings.Logger),
		own:      newOwn(),
		cancel:   cancel,
	}
	registry.running.Go(func() { registry.keepEntered(ctx) })
	registry.running.Go(func() { registry.keepFollowing(ctx) })
	return registry
}

// List gives the directory as it was last seen. This node is listed as it last published itself, not as the store has it.
func (registry *Registry) List(model string) []*v1.Node {
	return registry.nodes.list(model, registry.own.latest())
}

// Publish replaces this node's entry. Its id must be the same each time.
func (registry *Registry) Publish(node *v1.Node) { registry.own.publish(proto.CloneOf(node)) }

// Withdraw deletes this node's entry and ends the membership.
func (registry *Registry) Withdraw(ctx context.Context) error {
	err := errors.New("discovery: already withdrawn")
	registry.withdraw.Do(func() {
		registry.cancel()
		registry.running.Wait()
		err = nil
		if node := registry.own.latest(); node != nil {
			err = registry.store.remove(ctx, node.GetId())
		}
		err = errors.Join(err, registry.store.close())
	})
	return err
}

func (registry *Registry) keepEntered(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-registry.own.first:
	}
	registry.running.Go(func() { registry.own.pace(ctx, registry.settings.UpdateInterval) })
	registry.persist(ctx, "this node's entry", func(ctx context.Context) error {
		return registry.store.enter(ctx, registry.own)
	})
}

func (registry *Registry) keepFollowing(ctx context.Context) {
	registry.persist(ctx, "the nodes' entries", func(ctx context.Context) error {
		return registry.store.follow(ctx, registry.nodes)
	})
}

// persist runs attempt again and again until ctx ends, waiting longer after each failure that comes soon after another.
func (registry *Registry) persist(ctx context.Context, what string, attempt func(context.Context) error) {
	wait := retryMin
	for ctx.Err() == nil {
		began := time.Now()
		err := attempt(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > retryMax {
			wait = retryMin
		}
		registry.settings.Logger.Warn("the registry is lost and tried again", "for", what, "reason", err, "after", wait)
		sleep(ctx, jittered(wait))
		wait = min(2*wait, retryMax)
	}
}

// jittered is between half of wait and wait, so that nodes do not all come back in the same moment.
func jittered(wait time.Duration) time.Duration { return wait/2 + rand.N(wait/2) }

func sleep(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

package discovery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// own is this node's entry: what was published last, and when it is time to write it.
type own struct {
	lock sync.Mutex
	node *v1.Node
	// first is closed by the first publication.
	first chan struct{}
	// changed holds a token while there is something new that can wait, due while it is time to write.
	changed, due chan struct{}
}

func newOwn() *own {
	return &own{first: make(chan struct{}), changed: make(chan struct{}, 1), due: make(chan struct{}, 1)}
}

func (own *own) publish(node *v1.Node) {
	own.lock.Lock()
	defer own.lock.Unlock()
	before := own.node
	own.node = node
	switch {
	case before == nil:
		close(own.first)
	case proto.Equal(before, node):
	case isUrgent(before, node):
		signal(own.due)
	default:
		signal(own.changed)
	}
}

// isUrgent is whether callers would go wrong by the entry before: all changes but that of load are.
func isUrgent(before, after *v1.Node) bool {
	steady := proto.CloneOf(after)
	steady.Load = before.GetLoad()
	return !proto.Equal(before, steady)
}

// pace makes changes that can wait due, one an interval.
func (own *own) pace(ctx context.Context, interval time.Duration) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-own.changed:
			signal(own.due)
			sleep(ctx, interval)
		}
	}
}

func signal(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}

// latest is the node as it was published last; nil before.
func (own *own) latest() *v1.Node {
	own.lock.Lock()
	defer own.lock.Unlock()
	return own.node
}

// entry is what the store keeps of this node: its id, and the node in protobuf's JSON, which people can read there.
func (own *own) entry() (id string, value []byte, err error) {
	node := own.latest()
	value, err = protojson.Marshal(node)
	if err != nil {
		return "", nil, fmt.Errorf("discovery: %w", err)
	}
	if len(value) > entryBytesMax {
		return "", nil, fmt.Errorf("discovery: this node's entry has %d bytes, more than %d", len(value), entryBytesMax)
	}
	if node.GetId() == "" {
		return "", nil, errors.New("discovery: a node needs an id")
	}
	return node.GetId(), value, nil
}

package discovery

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// nodes are the store's entries as they were last seen, by id.
type nodes struct {
	lock    sync.RWMutex
	entries map[string]nodeEntry
	logger  *slog.Logger
}

type nodeEntry struct {
	value []byte
	node  *v1.Node
}

func newNodes(logger *slog.Logger) *nodes {
	return &nodes{entries: map[string]nodeEntry{}, logger: logger}
}

// put takes over an entry. One that cannot be read counts as none: a node of another version must not blind this one.
func (nodes *nodes) put(id string, value []byte) {
	nodes.lock.Lock()
	defer nodes.lock.Unlock()
	nodes.putLocked(nodes.entries, id, value)
}

func (nodes *nodes) remove(id string) {
	nodes.lock.Lock()
	defer nodes.lock.Unlock()
	delete(nodes.entries, id)
}

// replace takes over a whole directory.
func (nodes *nodes) replace(values map[string][]byte) {
	nodes.lock.Lock()
	defer nodes.lock.Unlock()
	fresh := make(map[string]nodeEntry, len(values))
	for _, id := range slices.Sorted(maps.Keys(values)) {
		nodes.putLocked(fresh, id, values[id])
	}
	nodes.entries = fresh
}

func (nodes *nodes) putLocked(entries map[string]nodeEntry, id string, value []byte) {
	if before, known := nodes.entries[id]; known && bytes.Equal(before.value, value) {
		entries[id] = before
		return
	}
	if _, known := entries[id]; !known && len(entries) >= nodesMax {
		nodes.logger.Error("the directory is full, a node is left out", "node", id, "nodes", len(entries))
		return
	}
	node, err := decode(id, value)
	if err != nil {
		nodes.logger.Warn("a node's entry cannot be read", "node", id, "reason", err)
		delete(entries, id)
		return
	}
	entries[id] = nodeEntry{value: bytes.Clone(value), node: node}
}

func decode(id string, value []byte) (*v1.Node, error) {
	if len(value) > entryBytesMax {
		return nil, fmt.Errorf("discovery: an entry of %d bytes, more than %d", len(value), entryBytesMax)
	}
	node := &v1.Node{}
	// Fields that this version does not know are a newer node's.
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(value, node); err != nil {
		return nil, err
	}
	if node.GetId() != id {
		return nil, fmt.Errorf("discovery: the entry is of node %q", node.GetId())
	}
	return node, nil
}

// list gives the nodes for model, with self (nil: none) in the place of its own entry.
func (nodes *nodes) list(model string, self *v1.Node) []*v1.Node {
	nodes.lock.RLock()
	defer nodes.lock.RUnlock()
	var listed []*v1.Node
	take := func(node *v1.Node) {
		if model == "" || serves(node, model) {
			listed = append(listed, node)
		}
	}
	for id, entry := range nodes.entries {
		if id != self.GetId() {
			take(entry.node)
		}
	}
	if self != nil {
		take(self)
	}
	slices.SortFunc(listed, func(a, b *v1.Node) int { return strings.Compare(a.GetId(), b.GetId()) })
	return listed
}

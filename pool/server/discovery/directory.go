// Package discovery tells the nodes of the pool about each other: each enters itself in a directory (etcd or Consul) with
// its models and its load, and follows what the others enter. An entry is gone within seconds after its node has crashed.
//
// The edge reads the directory from any node (GET /v1/nodes, or NodeService) and never talks to etcd or Consul.
package discovery

import (
	"context"

	v1 "treeline.dev/pool/gen/treeline/v1"
)

// Directory lists the nodes of the pool. Lists come from memory: they take no time and cannot fail. The nodes must not be
// changed. All methods may be called from many goroutines at once.
type Directory interface {
	// List gives the nodes that have this model ready and are not draining, ordered by id; with "" all, draining ones
	// too.
	List(model string) []*v1.Node
}

// Membership is this node's place in the directory.
type Membership interface {
	Directory
	// Publish replaces what the directory says about this node. It does not wait, and may be called often: entries are
	// written at most once an update interval, except that draining and other models are told at once.
	Publish(node *v1.Node)
	// Withdraw takes this node out of the directory and ends the membership. Call it once, after the node has published
	// itself as draining and finished its calls. An error leaves the entry to its time to live.
	Withdraw(ctx context.Context) error
}

// serves is whether node answers for the model now.
func serves(node *v1.Node, model string) bool {
	if node.GetDraining() {
		return false
	}
	for _, entry := range node.GetModels() {
		if entry.GetName() == model && entry.GetState() == v1.ModelState_MODEL_STATE_READY {
			return true
		}
	}
	return false
}

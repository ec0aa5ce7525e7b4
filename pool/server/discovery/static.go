package discovery

import (
	"context"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// Static is the directory where there is none to enter: this node alone.
type Static struct{ self atomic.Pointer[v1.Node] }

// NewStatic is empty until this node publishes itself.
func NewStatic() *Static { return &Static{} }

// List gives this node.
func (static *Static) List(model string) []*v1.Node {
	node := static.self.Load()
	if node == nil || (model != "" && !serves(node, model)) {
		return nil
	}
	return []*v1.Node{node}
}

// Publish replaces what is known of this node.
func (static *Static) Publish(node *v1.Node) { static.self.Store(proto.CloneOf(node)) }

// Withdraw empties the directory.
func (static *Static) Withdraw(context.Context) error {
	static.self.Store(nil)
	return nil
}

//go:build !tensorflow

package tensorflow

import (
	"context"
	"errors"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/goml"
)

type backend struct{}

// New is the backend, which loads nothing: this server was built without it.
func New(string) goml.Backend { return backend{} }

// Name implements goml.Backend.
func (backend) Name() string { return "tensorflow" }

// Load implements goml.Backend.
func (backend) Load(goml.Source) (goml.Model, error) {
	return nil, errors.New("this server was built without TensorFlow: build it with the tag tensorflow")
}

// Train implements goml.Backend.
func (backend) Train(context.Context, *v1.TrainModelRequest, string) (goml.Trained, error) {
	return goml.Trained{}, goml.Unsupported("The backend tensorflow does not train.")
}

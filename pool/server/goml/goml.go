// Package goml answers for models that Go computes itself: ONNX by ONNX Runtime, classic models by GoLearn, small
// networks by Gorgonia, SavedModels by TensorFlow's C library. They stand behind the same doors as the Rust engine's.
//
// One folder holds them: <folder>/<model>/<version>/version.json names the backend, the files with their SHA-256, and the
// backend's settings. Versions are numbers; the highest one that loads serves, any other can be asked for by its number.
package goml

import (
	"context"
	"fmt"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// Source is a version of a model, as a backend finds it.
type Source struct {
	Model   string
	Version uint64
	// Folder holds the version's files.
	Folder string
	// Files are paths by role, such as "model", checked against their hashes.
	Files map[string]string
	// Settings are the backend's own, as JSON has them.
	Settings map[string]any
}

// File is the path of the file with that role.
func (source Source) File(role string) (string, error) {
	path, found := source.Files[role]
	if !found {
		return "", fmt.Errorf("version.json of %s names no file for %q", source.Model, role)
	}
	return path, nil
}

// Signature is what a model takes and gives.
type Signature struct {
	Inputs  []*v1.TensorInfo
	Outputs []*v1.TensorInfo
	// MemoryBytes is what the model holds while loaded, as far as it can be told.
	MemoryBytes uint64
}

// Model is a loaded model. Calls come from many goroutines at once.
type Model interface {
	Signature() Signature
	// Infer gives all outputs. Inputs have been checked against their own shapes and datatypes, not against the signature.
	Infer(ctx context.Context, inputs []*v1.Tensor) ([]*v1.Tensor, error)
	// Close gives its memory back; no call runs or comes any more.
	Close() error
}

// Trained is what a training gave.
type Trained struct {
	// Files are names by role, inside the folder.
	Files    map[string]string
	Settings map[string]any
	Metrics  map[string]float64
}

// Backend makes models of one kind.
type Backend interface {
	// Name is what version.json and Model.backend say.
	Name() string
	Load(source Source) (Model, error)
	// Train writes the version's files into folder. Backends that do not train return Unsupported.
	Train(ctx context.Context, request *v1.TrainModelRequest, folder string) (Trained, error)
}

// Invalid is the request's fault: parameter names the field or tensor.
func Invalid(parameter, format string, arguments ...any) error {
	return failure(enginev1.Status_STATUS_INVALID_ARGUMENT, parameter, format, arguments...)
}

// Unsupported is what a backend cannot do.
func Unsupported(format string, arguments ...any) error {
	return failure(enginev1.Status_STATUS_UNSUPPORTED, "", format, arguments...)
}

func failure(status enginev1.Status, parameter, format string, arguments ...any) error {
	return &engine.Error{Status: status, Message: fmt.Sprintf(format, arguments...), Parameter: parameter}
}

// Guard runs work and turns a panic of a library into an error of this one call.
func Guard(library string, work func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = failure(enginev1.Status_STATUS_INTERNAL, "", "%s failed: %v.", library, reason)
		}
	}()
	return work()
}

//go:build tensorflow

package tensorflow

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "library.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/goml"
)

type backend struct {
	library string
	once    sync.Once
	err     error
}

// New is the backend; library is the path of libtensorflow_cc.so.2, which is opened at the first load.
func New(library string) goml.Backend { return &backend{library: library} }

// Name implements goml.Backend.
func (*backend) Name() string { return "tensorflow" }

// Train implements goml.Backend.
func (*backend) Train(context.Context, *v1.TrainModelRequest, string) (goml.Trained, error) {
	return goml.Trained{}, goml.Unsupported("The backend tensorflow does not train.")
}

func (backend *backend) start() error {
	backend.once.Do(func() {
		if _, err := os.Stat(backend.library); err != nil {
			backend.err = fmt.Errorf("TensorFlow's library is not at %q: name it with TENSORFLOW_LIBRARY", backend.library)
			return
		}
		path := C.CString(backend.library)
		defer C.free(unsafe.Pointer(path))
		if reason := C.treeline_tf_open(path); reason != nil {
			backend.err = errors.New(C.GoString(reason))
		}
	})
	return backend.err
}

// outcome is a status of TensorFlow's.
type outcome struct{ status *C.TF_Status }

func newOutcome() outcome { return outcome{C.treeline_tf_new_status()} }

func (outcome outcome) release() { C.treeline_tf_delete_status(outcome.status) }

func (outcome outcome) err() error {
	if C.treeline_tf_code(outcome.status) == 0 {
		return nil
	}
	return errors.New(C.GoString(C.treeline_tf_message(outcome.status)))
}

// Load implements goml.Backend.
func (backend *backend) Load(source goml.Source) (goml.Model, error) {
	if err := backend.start(); err != nil {
		return nil, err
	}
	folder, err := source.File("saved_model")
	if err != nil {
		return nil, err
	}
	signature := signatureDefault
	if given, found := source.Settings["signature"]; found {
		var ok bool
		if signature, ok = given.(string); !ok {
			return nil, errors.New("the setting signature must be a string")
		}
	}
	made := &model{graph: C.treeline_tf_new_graph()}
	if err := made.open(folder, signature); err != nil {
		_ = made.Close()
		return nil, err
	}
	return made, nil
}

type model struct {
	graph           *C.TF_Graph
	session         *C.TF_Session
	inputs, outputs []endpoint
}

func (model *model) open(folder, signature string) error {
	path := C.CString(folder)
	defer C.free(unsafe.Pointer(path))
	outcome := newOutcome()
	defer outcome.release()
	var description *C.TF_Buffer
	model.session = C.treeline_tf_load(path, model.graph, &description, outcome.status)
	defer C.treeline_tf_delete_buffer(description)
	if err := outcome.err(); err != nil {
		return fmt.Errorf("the SavedModel does not load: %w", err)
	}
	var err error
	model.inputs, model.outputs, err = readSignature(C.GoBytes(description.data, C.int(description.length)), signature)
	return err
}

// Signature implements goml.Model.
func (model *model) Signature() goml.Signature {
	var signature goml.Signature
	for _, input := range model.inputs {
		signature.Inputs = append(signature.Inputs, input.info)
	}
	for _, output := range model.outputs {
		signature.Outputs = append(signature.Outputs, output.info)
	}
	return signature
}

func (model *model) place(endpoint endpoint) (C.TF_Output, error) {
	name := C.CString(endpoint.operation)
	defer C.free(unsafe.Pointer(name))
	operation := C.treeline_tf_operation(model.graph, name)
	if operation == nil {
		return C.TF_Output{}, fmt.Errorf("the graph has no operation %q", endpoint.operation)
	}
	return C.TF_Output{operation: operation, index: C.int(endpoint.output)}, nil
}

// Infer implements goml.Model.
func (model *model) Infer(_ context.Context, tensors []*v1.Tensor) ([]*v1.Tensor, error) {
	inputPlaces, inputValues, err := model.feed(tensors)
	defer release(inputValues)
	if err != nil {
		return nil, err
	}
	outputPlaces := make([]C.TF_Output, len(model.outputs))
	for index, output := range model.outputs {
		if outputPlaces[index], err = model.place(output); err != nil {
			return nil, err
		}
	}
	outputValues := make([]*C.TF_Tensor, len(model.outputs))
	outcome := newOutcome()
	defer outcome.release()
	C.treeline_tf_run(model.session, unsafe.SliceData(inputPlaces), unsafe.SliceData(inputValues), C.int(len(inputValues)),
		unsafe.SliceData(outputPlaces), unsafe.SliceData(outputValues), C.int(len(outputValues)), outcome.status)
	defer release(outputValues)
	if err := outcome.err(); err != nil {
		return nil, goml.Invalid("inputs", "The model refused the call: %s.", err)
	}
	given := make([]*v1.Tensor, len(outputValues))
	for index, value := range outputValues {
		given[index] = fromTensor(model.outputs[index].info.Name, value)
	}
	return given, nil
}

func (model *model) feed(tensors []*v1.Tensor) (places []C.TF_Output, values []*C.TF_Tensor, err error) {
	for _, input := range model.inputs {
		tensor, err := goml.Named(tensors, input.info.Name)
		if err != nil {
			return nil, values, err
		}
		if tensor.Datatype != input.info.Datatype {
			return nil, values, goml.Invalid(tensor.Name, "%q must be %s, not %s.", tensor.Name, input.info.Datatype, tensor.Datatype)
		}
		place, err := model.place(input)
		if err != nil {
			return nil, values, err
		}
		places, values = append(places, place), append(values, toTensor(tensor))
	}
	return places, values, nil
}

// toTensor copies: TensorFlow wants its own alignment, and frees what it is given when it likes.
func toTensor(tensor *v1.Tensor) *C.TF_Tensor {
	made := C.treeline_tf_new_tensor(C.int(numberOf(tensor.Datatype)), (*C.int64_t)(unsafe.SliceData(tensor.Shape)),
		C.int(len(tensor.Shape)), C.size_t(len(tensor.Data)))
	copy(unsafe.Slice((*byte)(C.treeline_tf_data(made)), len(tensor.Data)), tensor.Data)
	return made
}

func fromTensor(name string, value *C.TF_Tensor) *v1.Tensor {
	tensor := &v1.Tensor{Name: name, Datatype: datatypes[uint64(C.treeline_tf_type(value))]}
	for dimension := range int(C.treeline_tf_dimensions(value)) {
		tensor.Shape = append(tensor.Shape, int64(C.treeline_tf_length(value, C.int(dimension))))
	}
	tensor.Data = C.GoBytes(C.treeline_tf_data(value), C.int(C.treeline_tf_bytes(value)))
	return tensor
}

func release(values []*C.TF_Tensor) {
	for _, value := range values {
		if value != nil {
			C.treeline_tf_delete_tensor(value)
		}
	}
}

// Close implements goml.Model.
func (model *model) Close() error {
	outcome := newOutcome()
	defer outcome.release()
	if model.session != nil {
		C.treeline_tf_close(model.session, outcome.status)
	}
	C.treeline_tf_delete_graph(model.graph)
	return outcome.err()
}

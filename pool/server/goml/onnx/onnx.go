// Package onnx serves ONNX models from Go by ONNX Runtime's C library, which PyPI's onnxruntime package carries. The
// engine's own backend `onnx` does the same from Rust; this one serves nodes without the engine.
//
// version.json: backend "onnx-go", file "model", settings {"threads": 1}. Inputs and outputs are the model's own.
package onnx

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/goml"
)

const threadsMax = 256

type backend struct {
	library string
	once    sync.Once
	err     error
}

// New is the backend; library is the path of libonnxruntime.so, which is opened at the first load.
func New(library string) goml.Backend { return &backend{library: library} }

// Name implements goml.Backend.
func (*backend) Name() string { return "onnx-go" }

// Train implements goml.Backend.
func (*backend) Train(context.Context, *v1.TrainModelRequest, string) (goml.Trained, error) {
	return goml.Trained{}, goml.Unsupported("The backend onnx-go does not train.")
}

// start opens the library, once in a process.
func (backend *backend) start() error {
	backend.once.Do(func() {
		if _, err := os.Stat(backend.library); err != nil {
			backend.err = fmt.Errorf("the library of ONNX Runtime is not at %q: `npm run models -- --pool` fetches it, or name another with ORT_DYLIB_PATH", backend.library)
			return
		}
		if ort.IsInitialized() {
			return
		}
		ort.SetSharedLibraryPath(backend.library)
		backend.err = ort.InitializeEnvironment(ort.WithLogLevelError())
	})
	return backend.err
}

// Load implements goml.Backend.
func (backend *backend) Load(source goml.Source) (goml.Model, error) {
	if err := backend.start(); err != nil {
		return nil, err
	}
	path, err := source.File("model")
	if err != nil {
		return nil, err
	}
	options, err := sessionOptions(source)
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	inputs, outputs, err := ort.GetInputOutputInfoWithOptions(path, options)
	if err != nil {
		return nil, fmt.Errorf("the model cannot be read: %w", err)
	}
	made := &model{}
	if made.signature.Inputs, err = tensorInfos("input", inputs); err != nil {
		return nil, err
	}
	if made.signature.Outputs, err = tensorInfos("output", outputs); err != nil {
		return nil, err
	}
	if information, err := os.Stat(path); err == nil {
		made.signature.MemoryBytes = uint64(information.Size())
	}
	made.session, err = ort.NewDynamicAdvancedSession(path, names(made.signature.Inputs), names(made.signature.Outputs), options)
	if err != nil {
		return nil, fmt.Errorf("the model cannot be opened: %w", err)
	}
	return made, nil
}

func sessionOptions(source goml.Source) (*ort.SessionOptions, error) {
	threads := 1
	if given, found := source.Settings["threads"]; found {
		number, ok := given.(float64)
		if !ok || number < 1 || number > threadsMax || number != float64(int(number)) {
			return nil, fmt.Errorf("the setting threads must be a whole number from 1 to %d", threadsMax)
		}
		threads = int(number)
	}
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	for _, err := range []error{
		options.SetIntraOpNumThreads(threads),
		// Waiting threads that spin would take the cores from everything else on the node.
		options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
	} {
		if err != nil {
			options.Destroy()
			return nil, err
		}
	}
	return options, nil
}

func tensorInfos(kind string, infos []ort.InputOutputInfo) ([]*v1.TensorInfo, error) {
	made := make([]*v1.TensorInfo, len(infos))
	for index, info := range infos {
		datatype := datatypeOf(info.DataType)
		if info.OrtValueType != ort.ONNXTypeTensor || datatype == "" {
			return nil, fmt.Errorf("the %s %q is no tensor of a datatype that there is here", kind, info.Name)
		}
		if kind == "output" && (datatype == "FP16" || datatype == "BF16") {
			// The binding copies one byte an element there.
			return nil, fmt.Errorf("the output %q is %s, which the backend onnx gives and onnx-go does not", info.Name, datatype)
		}
		made[index] = &v1.TensorInfo{Name: info.Name, Datatype: datatype, Shape: info.Dimensions}
	}
	return made, nil
}

func names(infos []*v1.TensorInfo) []string {
	all := make([]string, len(infos))
	for index, info := range infos {
		all[index] = info.Name
	}
	return all
}

type model struct {
	session   *ort.DynamicAdvancedSession
	signature goml.Signature
}

// Signature implements goml.Model.
func (model *model) Signature() goml.Signature { return model.signature }

// Infer implements goml.Model. When ctx ends, the run is told to stop.
func (model *model) Infer(ctx context.Context, tensors []*v1.Tensor) ([]*v1.Tensor, error) {
	inputs, err := model.values(tensors)
	defer destroy(inputs)
	if err != nil {
		return nil, err
	}
	options, err := ort.NewRunOptions()
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	terminated := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = options.Terminate()
		close(terminated)
	})
	outputs := make([]ort.Value, len(model.signature.Outputs))
	err = model.session.RunWithOptions(inputs, outputs, options)
	defer destroy(outputs)
	ended := !stop()
	if ended {
		// The options must not be given back under the call that ends the run.
		<-terminated
	}
	runtime.KeepAlive(tensors)
	switch {
	case ended && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, goml.Invalid("inputs", "The model refused the call: %s.", err)
	}
	given := make([]*v1.Tensor, len(outputs))
	for index, output := range outputs {
		if given[index], err = fromValue(model.signature.Outputs[index].Name, output); err != nil {
			return nil, err
		}
	}
	return given, nil
}

// values are the inputs in the model's order; those made so far come with the error.
func (model *model) values(tensors []*v1.Tensor) ([]ort.Value, error) {
	var made []ort.Value
	for _, info := range model.signature.Inputs {
		tensor, err := goml.Named(tensors, info.Name)
		if err != nil {
			return made, err
		}
		if err := fits(tensor, info); err != nil {
			return made, err
		}
		value, err := toValue(tensor)
		if err != nil {
			return made, goml.Invalid(tensor.Name, "%q cannot be used: %s.", tensor.Name, err)
		}
		made = append(made, value)
	}
	if len(tensors) > len(made) {
		return made, goml.Invalid("inputs", "The model has %d inputs, not %d.", len(made), len(tensors))
	}
	return made, nil
}

func fits(tensor *v1.Tensor, info *v1.TensorInfo) error {
	if tensor.Datatype != info.Datatype {
		return goml.Invalid(tensor.Name, "%q must be %s, not %s.", tensor.Name, info.Datatype, tensor.Datatype)
	}
	matches := len(tensor.Shape) == len(info.Shape) && len(tensor.Shape) > 0
	for index := 0; matches && index < len(info.Shape); index++ {
		matches = tensor.Shape[index] > 0 && (info.Shape[index] < 0 || info.Shape[index] == tensor.Shape[index])
	}
	if !matches {
		return goml.Invalid(tensor.Name, "%q must have the shape %v (-1: any), not %v.", tensor.Name, info.Shape, tensor.Shape)
	}
	return nil
}

func destroy(values []ort.Value) {
	for _, value := range values {
		if value != nil {
			_ = value.Destroy()
		}
	}
}

// Close implements goml.Model.
func (model *model) Close() error { return model.session.Destroy() }

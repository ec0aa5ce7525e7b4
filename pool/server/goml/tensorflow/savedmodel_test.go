//go:build tensorflow

package tensorflow

import (
	"encoding/binary"
	"math"
	"os"
	"testing"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/goml"
)

// library is where the tests find TensorFlow; they need it, since whoever sets the build tag has it.
func library(test *testing.T) string {
	test.Helper()
	path := os.Getenv("TENSORFLOW_LIBRARY")
	if path == "" {
		test.Skip("TENSORFLOW_LIBRARY names no libtensorflow_cc.so.2")
	}
	return path
}

func floats(values ...float32) []byte {
	var data []byte
	for _, value := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(value))
	}
	return data
}

func TestASavedModelAnswersByItsSignature(test *testing.T) {
	source := goml.Source{Model: "scale-and-shift", Files: map[string]string{"saved_model": "testdata/scale-and-shift"}}
	model, err := New(library(test)).Load(source)
	if err != nil {
		test.Fatal(err)
	}
	defer model.Close()
	signature := model.Signature()
	if len(signature.Inputs) != 1 || signature.Inputs[0].Name != "x" || signature.Outputs[0].Name != "y" {
		test.Fatalf("signature %v", signature)
	}
	outputs, err := model.Infer(test.Context(), []*v1.Tensor{{Name: "x", Datatype: "FP32", Shape: []int64{3}, Data: floats(1, 2, -3)}})
	if err != nil {
		test.Fatal(err)
	}
	if expected := floats(3, 5, -5); string(outputs[0].Data) != string(expected) {
		test.Fatalf("got %v, expected %v", outputs[0].Data, expected)
	}
}

func TestWhatDoesNotFitTheSignatureIsRefused(test *testing.T) {
	source := goml.Source{Model: "scale-and-shift", Files: map[string]string{"saved_model": "testdata/scale-and-shift"}}
	backend := New(library(test))
	model, err := backend.Load(source)
	if err != nil {
		test.Fatal(err)
	}
	defer model.Close()
	for name, tensor := range map[string]*v1.Tensor{
		"another name": {Name: "z", Datatype: "FP32", Shape: []int64{1}, Data: floats(1)},
		"another type": {Name: "x", Datatype: "INT32", Shape: []int64{1}, Data: floats(1)},
	} {
		if _, err := model.Infer(test.Context(), []*v1.Tensor{tensor}); err == nil {
			test.Errorf("%s was taken", name)
		}
	}
	source.Settings = map[string]any{"signature": "other"}
	if _, err := backend.Load(source); err == nil {
		test.Error("a signature that there is not was taken")
	}
	source.Files = map[string]string{"saved_model": "testdata"}
	if _, err := backend.Load(source); err == nil {
		test.Error("a folder without a SavedModel was taken")
	}
}

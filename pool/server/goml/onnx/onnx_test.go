package onnx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/goml"
	"treeline.dev/pool/tensors"
)

// library finds ONNX Runtime: by the variable, or where `npm run models -- --pool` puts it.
func library(test *testing.T) string {
	test.Helper()
	if path := os.Getenv("ORT_DYLIB_PATH"); path != "" {
		return path
	}
	folder := os.Getenv("TREELINE_MODEL_DIRECTORY")
	if folder == "" {
		home, _ := os.UserHomeDir()
		folder = filepath.Join(home, ".cache", "treeline", "models")
	}
	found, _ := filepath.Glob(filepath.Join(folder, "onnxruntime", "libonnxruntime.so*"))
	if len(found) == 0 {
		if os.Getenv("CI") != "" {
			test.Fatal("ONNX Runtime was not fetched")
		}
		test.Skip("ONNX Runtime is not there: npm run models -- --pool")
	}
	return found[0]
}

func load(test *testing.T, file string) goml.Model {
	test.Helper()
	model, err := New(library(test)).Load(goml.Source{Model: file, Files: map[string]string{"model": filepath.Join("testdata", file)}})
	if err != nil {
		test.Fatal(err)
	}
	test.Cleanup(func() {
		if err := model.Close(); err != nil {
			test.Error(err)
		}
	})
	return model
}

func floats(values ...float32) []byte {
	var data []byte
	for _, value := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(value))
	}
	return data
}

func TestAModelComputesFromMemoryOfAnyAlignment(test *testing.T) {
	model := load(test, "affine.onnx")
	for shift := range 4 {
		memory := append(make([]byte, shift), floats(1, 2, 3, 4, 5, 6)...)
		outputs, err := model.Infer(test.Context(), []*v1.Tensor{{Name: "x", Datatype: "FP32", Shape: []int64{2, 3}, Data: memory[shift:]}})
		if err != nil {
			test.Fatal(err)
		}
		if expected := floats(10.5, 3.5, 22.5, 9.5); !bytes.Equal(outputs[0].Data, expected) || outputs[0].Name != "y" {
			test.Errorf("shift %d: %v", shift, outputs[0])
		}
	}
}

func TestEveryDatatypePassesUnchanged(test *testing.T) {
	model := load(test, "identities.onnx")
	var inputs []*v1.Tensor
	for _, info := range model.Signature().Inputs {
		tensor := &v1.Tensor{Name: info.Name, Datatype: info.Datatype, Shape: []int64{2}}
		if info.Datatype == "BYTES" {
			tensor.Data = goml.FromStrings("", nil, []string{"grüße", ""}).Data
		} else {
			size, _ := tensors.ElementBytes(info.Datatype)
			for index := range 2 * size {
				tensor.Data = append(tensor.Data, byte(index%2))
			}
		}
		inputs = append(inputs, tensor)
	}
	outputs, err := model.Infer(test.Context(), inputs)
	if err != nil {
		test.Fatal(err)
	}
	for _, input := range inputs {
		output, err := goml.Named(outputs, strings.Replace(input.Name, "in-", "out-", 1))
		if err != nil || output.Datatype != input.Datatype || !bytes.Equal(output.Data, input.Data) {
			test.Errorf("%s: %v, %v", input.Name, output, err)
		}
	}
}

func TestInputsThatDoNotFitAreRefusedByName(test *testing.T) {
	model := load(test, "affine.onnx")
	right := &v1.Tensor{Name: "x", Datatype: "FP32", Shape: []int64{1, 3}, Data: floats(1, 2, 3)}
	for name, wrong := range map[string]struct {
		inputs    []*v1.Tensor
		parameter string
	}{
		"none":       {nil, "x"},
		"datatype":   {[]*v1.Tensor{{Name: "x", Datatype: "FP64", Shape: []int64{1, 3}, Data: make([]byte, 24)}}, "x"},
		"length":     {[]*v1.Tensor{{Name: "x", Datatype: "FP32", Shape: []int64{1, 2}, Data: floats(1, 2)}}, "x"},
		"dimensions": {[]*v1.Tensor{{Name: "x", Datatype: "FP32", Shape: []int64{3}, Data: floats(1, 2, 3)}}, "x"},
		"empty":      {[]*v1.Tensor{{Name: "x", Datatype: "FP32", Shape: []int64{0, 3}}}, "x"},
		"one more":   {[]*v1.Tensor{right, {Name: "z", Datatype: "FP32", Shape: []int64{1}, Data: floats(1)}}, "inputs"},
	} {
		_, err := model.Infer(test.Context(), wrong.inputs)
		var refused *engine.Error
		if !errors.As(err, &refused) || refused.Status != enginev1.Status_STATUS_INVALID_ARGUMENT || refused.Parameter != wrong.parameter {
			test.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFileThatIsNoModelIsRefused(test *testing.T) {
	if _, err := New(library(test)).Load(goml.Source{Files: map[string]string{"model": "testdata/make.py"}}); err == nil {
		test.Error("a script was taken for a model")
	}
}

func TestAMissingLibrarySaysWhatToDo(test *testing.T) {
	_, err := New("/nowhere/libonnxruntime.so").Load(goml.Source{Files: map[string]string{"model": "testdata/affine.onnx"}})
	if err == nil || !strings.Contains(err.Error(), "npm run models") {
		test.Error(err)
	}
}

package goml

import (
	"errors"
	"testing"

	"treeline.dev/pool/engine"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

func TestATensorWhoseDataDoesNotFitIsRefusedByName(test *testing.T) {
	for name, tensor := range map[string]*v1.Tensor{
		"too short":         {Datatype: "FP32", Shape: []int64{2}, Data: make([]byte, 7)},
		"too long":          {Datatype: "INT8", Shape: []int64{2}, Data: make([]byte, 3)},
		"negative length":   {Datatype: "INT8", Shape: []int64{-1}, Data: nil},
		"overflow":          {Datatype: "INT8", Shape: []int64{1 << 62, 1 << 62}, Data: nil},
		"datatype":          {Datatype: "FP8", Shape: []int64{1}, Data: make([]byte, 1)},
		"dimensions":        {Datatype: "INT8", Shape: make([]int64, DimensionsMax+1), Data: nil},
		"string past end":   {Datatype: "BYTES", Shape: []int64{1}, Data: []byte{5, 0, 0, 0, 'a'}},
		"string cut":        {Datatype: "BYTES", Shape: []int64{1}, Data: []byte{5, 0}},
		"number of strings": {Datatype: "BYTES", Shape: []int64{2}, Data: []byte{1, 0, 0, 0, 'a'}},
	} {
		tensor.Name = "x"
		var refused *engine.Error
		if err := Check(tensor); !errors.As(err, &refused) || refused.Parameter != "x" {
			test.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzNoTensorPanics(fuzz *testing.F) {
	fuzz.Add("BYTES", int64(1), []byte{1, 0, 0, 0, 'a'})
	fuzz.Add("FP32", int64(1), []byte{0, 0, 0, 0})
	fuzz.Fuzz(func(test *testing.T, datatype string, length int64, data []byte) {
		tensor := &v1.Tensor{Name: "x", Datatype: datatype, Shape: []int64{length}, Data: data}
		if Check(tensor) != nil {
			return
		}
		_, _ = Labels(tensor)
		_, _, _, _ = Matrix(tensor)
	})
}

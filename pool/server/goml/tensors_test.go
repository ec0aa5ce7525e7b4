package goml

import (
	"testing"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/tensors"
)

func FuzzNoTensorPanics(fuzz *testing.F) {
	fuzz.Add("BYTES", int64(1), []byte{1, 0, 0, 0, 'a'})
	fuzz.Add("FP32", int64(1), []byte{0, 0, 0, 0})
	fuzz.Fuzz(func(test *testing.T, datatype string, length int64, data []byte) {
		tensor := &v1.Tensor{Name: "x", Datatype: datatype, Shape: []int64{length}, Data: data}
		if tensors.Check(tensor) != nil {
			return
		}
		_, _ = Labels(tensor)
		_, _, _, _ = Matrix(tensor)
	})
}

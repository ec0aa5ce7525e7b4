package tensors

import (
	"bytes"
	"errors"
	"testing"

	"treeline.dev/pool/engine"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

func TestATensorWhoseDataDoesNotFitIsRefusedByName(t *testing.T) {
	for name, tensor := range map[string]*v1.Tensor{
		"too short":         {Datatype: "FP32", Shape: []int64{2}, Data: make([]byte, 7)},
		"too long":          {Datatype: "INT8", Shape: []int64{2}, Data: make([]byte, 3)},
		"negative length":   {Datatype: "INT8", Shape: []int64{-1}, Data: nil},
		"overflow":          {Datatype: "INT8", Shape: []int64{1 << 62, 1 << 62}, Data: nil},
		"too many elements": {Datatype: "INT8", Shape: []int64{1 << 16, 1 << 16}, Data: nil},
		"datatype":          {Datatype: "FP8", Shape: []int64{1}, Data: make([]byte, 1)},
		"dimensions":        {Datatype: "INT8", Shape: make([]int64, DimensionsMax+1), Data: nil},
		"string past end":   {Datatype: "BYTES", Shape: []int64{1}, Data: []byte{5, 0, 0, 0, 'a'}},
		"string cut":        {Datatype: "BYTES", Shape: []int64{1}, Data: []byte{5, 0}},
		"number of strings": {Datatype: "BYTES", Shape: []int64{2}, Data: []byte{1, 0, 0, 0, 'a'}},
	} {
		tensor.Name = "x"
		var refused *engine.Error
		if err := Check(tensor); !errors.As(err, &refused) || refused.Parameter != "x" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Check(&v1.Tensor{Datatype: "INT8", Shape: []int64{1}, Data: []byte{1}}); err == nil {
		t.Error("a tensor without a name was accepted")
	}
}

func TestATensorWhoseDataFitsIsTaken(t *testing.T) {
	for name, tensor := range map[string]*v1.Tensor{
		"a scalar":          {Datatype: "FP64", Data: make([]byte, 8)},
		"nothing":           {Datatype: "FP64", Shape: []int64{3, 0}},
		"a matrix":          {Datatype: "BF16", Shape: []int64{2, 3}, Data: make([]byte, 12)},
		"strings":           {Datatype: "BYTES", Shape: []int64{2}, Data: []byte{0, 0, 0, 0, 1, 0, 0, 0, 'a'}},
		"no string":         {Datatype: "BYTES", Shape: []int64{0}},
		"as many as can be": {Datatype: "BYTES", Shape: []int64{ElementsMax, 0}},
	} {
		tensor.Name = "x"
		if err := Check(tensor); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzStrings holds that no data makes the reader panic, and that what it takes whole comes back the same.
func FuzzStrings(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 'a'})
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		elements, isWhole := Strings(data)
		count, countsWhole := countStrings(data)
		if count != len(elements) || isWhole != countsWhole {
			t.Fatalf("%d elements, but %d are counted", len(elements), count)
		}
		var again []byte
		for _, element := range elements {
			again = AppendString(again, element)
		}
		if isWhole && !bytes.Equal(again, data) {
			t.Fatalf("%v became %v", data, again)
		}
	})
}

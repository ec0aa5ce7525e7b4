package openinference

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"treeline.dev/pool/door"
	"treeline.dev/pool/gen/inference"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/tensors"
)

// cases are a value list of each datatype that JSON can say, and its bytes.
var cases = []struct {
	datatype string
	json     string
	raw      []byte
}{
	{"BOOL", `[true,false]`, []byte{1, 0}},
	{"UINT8", `[0,255]`, []byte{0, 255}},
	{"INT8", `[-128,127]`, []byte{128, 127}},
	{"UINT16", `[1,65535]`, []byte{1, 0, 255, 255}},
	{"INT16", `[-32768,-1]`, []byte{0, 128, 255, 255}},
	{"UINT32", `[1,4294967295]`, []byte{1, 0, 0, 0, 255, 255, 255, 255}},
	{"INT32", `[-2147483648,-1]`, []byte{0, 0, 0, 128, 255, 255, 255, 255}},
	{"UINT64", `[0,18446744073709551615]`, append(make([]byte, 8), bytes.Repeat([]byte{255}, 8)...)},
	{"INT64", `[-9223372036854775808,9007199254740993]`,
		binary.LittleEndian.AppendUint64([]byte{0, 0, 0, 0, 0, 0, 0, 128}, 9007199254740993)},
	{"FP32", `[1.5,-3.4028235e+38]`, binary.LittleEndian.AppendUint32(
		binary.LittleEndian.AppendUint32(nil, math.Float32bits(1.5)), math.Float32bits(-math.MaxFloat32))},
	{"FP64", `[0.1,1e-300]`, binary.LittleEndian.AppendUint64(
		binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.1)), math.Float64bits(1e-300))},
	{"BYTES", `["a\"é","🌲"]`, tensors.AppendString(tensors.AppendString(nil, []byte(`a"é`)), []byte("🌲"))},
}

func TestEveryDatatypeGoesThroughJSONUnchanged(t *testing.T) {
	for _, test := range cases {
		frame, err := tensors.NewFrame("x", test.datatype, []int64{2, 1})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := parseData(frame, []byte(test.json), nil)
		if err != nil || !bytes.Equal(raw, test.raw) {
			t.Errorf("%s: %v %v", test.datatype, raw, err)
		}
		if _, err := frame.Tensor(raw); err != nil {
			t.Error(err)
		}
		text, err := formatData(&v1.Tensor{Datatype: test.datatype, Data: test.raw})
		if err != nil || string(text) != test.json {
			t.Errorf("%s: %s %v", test.datatype, text, err)
		}
	}
}

func TestNestedArraysAreFlattened(t *testing.T) {
	frame, _ := tensors.NewFrame("x", "INT32", []int64{2, 2})
	raw, err := parseData(frame, []byte("[ [1, 2],\n\t[3 ,4] ]"), nil)
	if err != nil || !bytes.Equal(raw, []byte{1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0}) {
		t.Error(raw, err)
	}
}

func TestAValueThatDoesNotFitItsDatatypeIsRefused(t *testing.T) {
	for _, test := range []struct{ datatype, json string }{
		{"UINT8", "[256]"}, {"UINT8", "[-1]"}, {"INT8", "[128]"}, {"INT64", "[9223372036854775808]"}, {"INT32", "[1.5]"},
		{"INT32", `["1"]`}, {"BOOL", "[1]"}, {"BYTES", "[1]"}, {"BYTES", "[null]"}, {"FP32", "[1e39]"}, {"FP64", "[true]"},
		{"FP32", "[{}]"}, {"FP32", "[null]"}, {"FP32", "[]"}, {"FP32", "[1,2]"}, {"FP16", "[1]"}, {"BF16", "[1]"},
	} {
		frame, err := tensors.NewFrame("x", test.datatype, []int64{1})
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := parseData(frame, []byte(test.json), nil); err == nil {
			t.Errorf("%s %s gave %v", test.datatype, test.json, raw)
		}
	}
	for _, value := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
		data := binary.LittleEndian.AppendUint32(nil, math.Float32bits(value))
		if text, err := formatData(&v1.Tensor{Datatype: "FP32", Data: data}); err == nil {
			t.Errorf("%s", text)
		}
	}
	if text, err := formatData(&v1.Tensor{Datatype: "BYTES", Data: tensors.AppendString(nil, []byte{255})}); err == nil {
		t.Errorf("%s", text)
	}
}

func TestAFrameThatCannotBeIsRefused(t *testing.T) {
	for _, test := range []struct {
		name, datatype string
		shape          []int64
	}{
		{"", "FP32", nil}, {"x", "FP8", nil}, {"x", "FP32", []int64{-1}}, {"x", "FP32", make([]int64, tensors.DimensionsMax+1)},
		{"x", "FP32", []int64{1 << 30, 1 << 30, 1 << 30}}, {"x", "FP32", []int64{math.MaxInt64}},
	} {
		if frame, err := tensors.NewFrame(test.name, test.datatype, test.shape); err == nil {
			t.Error(frame)
		}
	}
}

func TestDataOfTheWrongLengthIsRefused(t *testing.T) {
	floats, _ := tensors.NewFrame("x", "FP32", []int64{2})
	texts, _ := tensors.NewFrame("x", "BYTES", []int64{2})
	for _, test := range []struct {
		frame tensors.Frame
		data  []byte
	}{
		{floats, make([]byte, 7)}, {floats, make([]byte, 12)}, {texts, tensors.AppendString(nil, []byte("a"))},
		{texts, []byte{255, 255, 255, 255, 1}}, {texts, []byte{1, 0}},
	} {
		if tensor, err := test.frame.Tensor(test.data); err == nil {
			t.Error(tensor)
		}
	}
}

func TestTypedContentsBecomeTheSameBytesAsJSON(t *testing.T) {
	contents := map[string]*inference.InferTensorContents{
		"BOOL": {BoolContents: []bool{true, false}}, "UINT8": {UintContents: []uint32{0, 255}},
		"INT8": {IntContents: []int32{-128, 127}}, "UINT16": {UintContents: []uint32{1, 65535}},
		"INT16": {IntContents: []int32{-32768, -1}}, "UINT32": {UintContents: []uint32{1, math.MaxUint32}},
		"INT32":  {IntContents: []int32{math.MinInt32, -1}},
		"UINT64": {Uint64Contents: []uint64{0, math.MaxUint64}},
		"INT64":  {Int64Contents: []int64{math.MinInt64, 9007199254740993}},
		"FP32":   {Fp32Contents: []float32{1.5, -math.MaxFloat32}}, "FP64": {Fp64Contents: []float64{0.1, 1e-300}},
		"BYTES": {BytesContents: [][]byte{[]byte(`a"é`), []byte("🌲")}},
	}
	for _, test := range cases {
		frame, _ := tensors.NewFrame("x", test.datatype, []int64{2})
		if raw, err := parseContents(frame, contents[test.datatype]); err != nil || !bytes.Equal(raw, test.raw) {
			t.Errorf("%s: %v %v", test.datatype, raw, err)
		}
	}
	for datatype, bad := range map[string]*inference.InferTensorContents{
		"INT8": {IntContents: []int32{128}}, "UINT16": {UintContents: []uint32{65536}}, "FP16": {Fp32Contents: []float32{1}},
	} {
		frame, _ := tensors.NewFrame("x", datatype, []int64{1})
		if raw, err := parseContents(frame, bad); err == nil {
			t.Error(datatype, raw)
		}
	}
}

// TestAnyDoubleGoesThroughJSONUnchanged compares with encoding/json as the slow twin.
func TestAnyDoubleGoesThroughJSONUnchanged(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	values := make([]float64, 1000)
	for index := range values {
		for {
			values[index] = math.Float64frombits(random.Uint64())
			if !math.IsNaN(values[index]) && !math.IsInf(values[index], 0) {
				break
			}
		}
	}
	text, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	frame, _ := tensors.NewFrame("x", "FP64", []int64{1000})
	raw, err := parseData(frame, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	back, err := formatData(&v1.Tensor{Datatype: "FP64", Data: raw})
	if err != nil {
		t.Fatal(err)
	}
	var read []float64
	if err := json.Unmarshal(back, &read); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(read) != fmt.Sprint(values) {
		t.Error("not the same")
	}
}

// FuzzParseREST holds that no body makes the parser panic, and that what it takes has data of the right length.
func FuzzParseREST(f *testing.F) {
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}`), "")
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":5}}]}`+"\x01\x00\x00\x00a"), "91")
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"INT8","shape":[],"data":"[\\"}]}`), "")
	f.Fuzz(func(t *testing.T, body []byte, length string) {
		request := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		opened, err := door.OpenBody(httptest.NewRecorder(), request, door.Bounds{BodyBytesMax: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		call, _, err := parseREST(opened, length, nil)
		if err != nil {
			return
		}
		for _, input := range call.GetInputs() {
			frame, err := tensors.NewFrame(input.GetName(), input.GetDatatype(), input.GetShape())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := frame.Tensor(input.GetData()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

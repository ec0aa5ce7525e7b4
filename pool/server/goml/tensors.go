package goml

import (
	"encoding/binary"
	"fmt"
	"math"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/tensors"
)

// Strings are the elements of a BYTES tensor.
func Strings(tensor *v1.Tensor) ([]string, error) {
	elements, isWhole := tensors.Strings(tensor.Data)
	if !isWhole {
		return nil, Invalid(tensor.Name, "A string of the tensor is longer than its data.")
	}
	texts := make([]string, len(elements))
	for index, element := range elements {
		texts[index] = string(element)
	}
	return texts, nil
}

// FromStrings is a BYTES tensor.
func FromStrings(name string, shape []int64, elements []string) *v1.Tensor {
	var data []byte
	for _, element := range elements {
		data = tensors.AppendString(data, []byte(element))
	}
	return &v1.Tensor{Name: name, Datatype: "BYTES", Shape: shape, Data: data}
}

// Floats are the elements of a numeric tensor.
func Floats(tensor *v1.Tensor) ([]float64, error) {
	read := floatReader(tensor.Datatype)
	if read == nil {
		return nil, Invalid(tensor.Name, "%s cannot be read as numbers here; send FP32 or FP64.", tensor.Datatype)
	}
	size, _ := tensors.ElementBytes(tensor.Datatype)
	values := make([]float64, len(tensor.Data)/size)
	for index := range values {
		values[index] = read(tensor.Data[index*size:])
	}
	return values, nil
}

func floatReader(datatype string) func([]byte) float64 {
	little := binary.LittleEndian
	switch datatype {
	case "FP32":
		return func(data []byte) float64 { return float64(math.Float32frombits(little.Uint32(data))) }
	case "FP64":
		return func(data []byte) float64 { return math.Float64frombits(little.Uint64(data)) }
	case "BOOL", "UINT8":
		return func(data []byte) float64 { return float64(data[0]) }
	case "INT8":
		return func(data []byte) float64 { return float64(int8(data[0])) }
	case "UINT16":
		return func(data []byte) float64 { return float64(little.Uint16(data)) }
	case "INT16":
		return func(data []byte) float64 { return float64(int16(little.Uint16(data))) }
	case "UINT32":
		return func(data []byte) float64 { return float64(little.Uint32(data)) }
	case "INT32":
		return func(data []byte) float64 { return float64(int32(little.Uint32(data))) }
	case "UINT64":
		return func(data []byte) float64 { return float64(little.Uint64(data)) }
	case "INT64":
		return func(data []byte) float64 { return float64(int64(little.Uint64(data))) }
	default:
		return nil
	}
}

// FromFloats is an FP64 tensor.
func FromFloats(name string, shape []int64, values []float64) *v1.Tensor {
	data := make([]byte, 0, 8*len(values))
	for _, value := range values {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(value))
	}
	return &v1.Tensor{Name: name, Datatype: "FP64", Shape: shape, Data: data}
}

// FromIntegers is an INT64 tensor.
func FromIntegers(name string, shape []int64, values []int64) *v1.Tensor {
	data := make([]byte, 0, 8*len(values))
	for _, value := range values {
		data = binary.LittleEndian.AppendUint64(data, uint64(value))
	}
	return &v1.Tensor{Name: name, Datatype: "INT64", Shape: shape, Data: data}
}

// Named is the tensor of that name.
func Named(among []*v1.Tensor, name string) (*v1.Tensor, error) {
	for _, tensor := range among {
		if tensor.Name == name {
			return tensor, nil
		}
	}
	return nil, Invalid(name, "There is no tensor %q among the inputs.", name)
}

// Matrix is a numeric tensor of two dimensions, finite in every element, row-major. A tensor of one dimension is one row.
func Matrix(tensor *v1.Tensor) (values []float64, rows, columns int, err error) {
	switch len(tensor.Shape) {
	case 1:
		rows, columns = 1, int(tensor.Shape[0])
	case 2:
		rows, columns = int(tensor.Shape[0]), int(tensor.Shape[1])
	default:
		return nil, 0, 0, Invalid(tensor.Name, "%q must have the shape [rows, columns].", tensor.Name)
	}
	if values, err = Floats(tensor); err != nil {
		return nil, 0, 0, err
	}
	for _, value := range values {
		if math.IsNaN(value) || math.IsInf(value, 0) {
			return nil, 0, 0, Invalid(tensor.Name, "%q holds a value that is not finite.", tensor.Name)
		}
	}
	if rows < 1 || columns < 1 {
		return nil, 0, 0, Invalid(tensor.Name, "%q has no element.", tensor.Name)
	}
	return values, rows, columns, nil
}

// Labels are the elements of a target as text: classes may be numbers or strings.
func Labels(tensor *v1.Tensor) ([]string, error) {
	if tensor.Datatype == "BYTES" {
		return Strings(tensor)
	}
	values, err := Floats(tensor)
	if err != nil {
		return nil, err
	}
	labels := make([]string, len(values))
	for index, value := range values {
		if value != math.Trunc(value) || math.Abs(value) > 1<<53 {
			return nil, Invalid(tensor.Name, "Classes are whole numbers or strings, not %v.", value)
		}
		labels[index] = fmt.Sprintf("%.0f", value)
	}
	return labels, nil
}

// FromLabels is the opposite of Labels: INT64 where the classes were numbers, else BYTES.
func FromLabels(name string, labels []string, areNumbers bool) (*v1.Tensor, error) {
	shape := []int64{int64(len(labels))}
	if !areNumbers {
		return FromStrings(name, shape, labels), nil
	}
	values := make([]int64, len(labels))
	for index, label := range labels {
		if _, err := fmt.Sscanf(label, "%d", &values[index]); err != nil {
			return nil, fmt.Errorf("goml: the class %q is no number", label)
		}
	}
	return FromIntegers(name, shape, values), nil
}

package onnx

import (
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/goml"
	"treeline.dev/pool/tensors"
)

// elementTypes are ONNX Runtime's names of the datatypes.
var elementTypes = map[string]ort.TensorElementDataType{
	"BOOL": ort.TensorElementDataTypeBool, "BYTES": ort.TensorElementDataTypeString,
	"UINT8": ort.TensorElementDataTypeUint8, "INT8": ort.TensorElementDataTypeInt8,
	"UINT16": ort.TensorElementDataTypeUint16, "INT16": ort.TensorElementDataTypeInt16,
	"UINT32": ort.TensorElementDataTypeUint32, "INT32": ort.TensorElementDataTypeInt32,
	"UINT64": ort.TensorElementDataTypeUint64, "INT64": ort.TensorElementDataTypeInt64,
	"FP16": ort.TensorElementDataTypeFloat16, "BF16": ort.TensorElementDataTypeBFloat16,
	"FP32": ort.TensorElementDataTypeFloat, "FP64": ort.TensorElementDataTypeDouble,
}

// datatypeOf is the name of an element type, or "" for one that no datatype has.
func datatypeOf(element ort.TensorElementDataType) string {
	for name, known := range elementTypes {
		if known == element {
			return name
		}
	}
	return ""
}

// toValue is the tensor as ONNX Runtime reads it, over the same memory; only data that is not aligned, or strings, are
// copied.
func toValue(tensor *v1.Tensor) (ort.Value, error) {
	shape := ort.NewShape(tensor.Shape...)
	if tensor.Datatype == "BYTES" {
		strings, err := goml.Strings(tensor)
		if err != nil {
			return nil, err
		}
		value, err := ort.NewStringTensor(shape)
		if err != nil {
			return nil, err
		}
		if err := value.SetContents(strings); err != nil {
			value.Destroy()
			return nil, err
		}
		return value, nil
	}
	size, _ := tensors.ElementBytes(tensor.Datatype)
	data := tensor.Data
	if uintptr(unsafe.Pointer(unsafe.SliceData(data)))%uintptr(size) != 0 {
		// Go aligns every allocation of a byte slice of this size to 8 bytes.
		data = append(make([]byte, 0, max(8, len(data))), data...)
	}
	return ort.NewCustomDataTensor(shape, data, elementTypes[tensor.Datatype])
}

// fromValue copies an output out of ONNX Runtime's value.
func fromValue(name string, value ort.Value) (*v1.Tensor, error) {
	shape := []int64(value.GetShape())
	switch typed := value.(type) {
	case *ort.StringTensor:
		strings, err := typed.GetContents()
		if err != nil {
			return nil, err
		}
		return goml.FromStrings(name, shape, strings), nil
	case *ort.Tensor[float32]:
		return numeric(name, "FP32", shape, typed.GetData()), nil
	case *ort.Tensor[float64]:
		return numeric(name, "FP64", shape, typed.GetData()), nil
	case *ort.Tensor[bool]:
		return numeric(name, "BOOL", shape, typed.GetData()), nil
	case *ort.Tensor[uint8]:
		return numeric(name, "UINT8", shape, typed.GetData()), nil
	case *ort.Tensor[int8]:
		return numeric(name, "INT8", shape, typed.GetData()), nil
	case *ort.Tensor[uint16]:
		return numeric(name, "UINT16", shape, typed.GetData()), nil
	case *ort.Tensor[int16]:
		return numeric(name, "INT16", shape, typed.GetData()), nil
	case *ort.Tensor[uint32]:
		return numeric(name, "UINT32", shape, typed.GetData()), nil
	case *ort.Tensor[int32]:
		return numeric(name, "INT32", shape, typed.GetData()), nil
	case *ort.Tensor[uint64]:
		return numeric(name, "UINT64", shape, typed.GetData()), nil
	case *ort.Tensor[int64]:
		return numeric(name, "INT64", shape, typed.GetData()), nil
	default:
		return nil, goml.Unsupported("The output %q is of a kind that this backend does not give.", name)
	}
}

// numeric is a tensor over the memory of values, which Go owns. All hosts of the pool are little-endian.
func numeric[Element any](name, datatype string, shape []int64, values []Element) *v1.Tensor {
	tensor := &v1.Tensor{Name: name, Datatype: datatype, Shape: shape}
	if len(values) > 0 {
		var element Element
		tensor.Data = unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), len(values)*int(unsafe.Sizeof(element)))
	}
	return tensor
}

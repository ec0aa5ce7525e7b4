package openinference

import (
	"encoding/binary"

	"treeline.dev/pool/gen/inference"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

const (
	// tensorsMax bounds the inputs, and the outputs, of a call.
	tensorsMax = 64
	// rankMax bounds the dimensions of a tensor.
	rankMax = 16
	// elementsMax bounds the elements of a tensor; it keeps all sizes far from overflow.
	elementsMax = 1 << 31
	// lengthBytes are in front of each element of BYTES.
	lengthBytes = 4
)

// datatype is a kind of element.
type datatype struct {
	// size is the bytes of an element; 0 where each has its own length (BYTES).
	size int
	// isRawOnly is true where JSON and the typed contents have no form for it, so that it travels as bytes alone.
	isRawOnly bool
	// config is its name in a model's configuration.
	config inference.DataType
}

// datatypes are all that the protocol knows.
var datatypes = map[string]datatype{
	"BOOL":   {size: 1, config: inference.DataType_TYPE_BOOL},
	"UINT8":  {size: 1, config: inference.DataType_TYPE_UINT8},
	"UINT16": {size: 2, config: inference.DataType_TYPE_UINT16},
	"UINT32": {size: 4, config: inference.DataType_TYPE_UINT32},
	"UINT64": {size: 8, config: inference.DataType_TYPE_UINT64},
	"INT8":   {size: 1, config: inference.DataType_TYPE_INT8},
	"INT16":  {size: 2, config: inference.DataType_TYPE_INT16},
	"INT32":  {size: 4, config: inference.DataType_TYPE_INT32},
	"INT64":  {size: 8, config: inference.DataType_TYPE_INT64},
	"FP16":   {size: 2, isRawOnly: true, config: inference.DataType_TYPE_FP16},
	"BF16":   {size: 2, isRawOnly: true, config: inference.DataType_TYPE_BF16},
	"FP32":   {size: 4, config: inference.DataType_TYPE_FP32},
	"FP64":   {size: 8, config: inference.DataType_TYPE_FP64},
	"BYTES":  {config: inference.DataType_TYPE_STRING},
}

// frame is a tensor without its data: what all forms of a request say the same way.
type frame struct {
	name     string
	datatype string
	shape    []int64
	kind     datatype
	elements int
}

// newFrame checks the name, the datatype and the shape.
func newFrame(name, datatypeName string, shape []int64) (frame, error) {
	if name == "" {
		return frame{}, models.Invalid("inputs", "Every input needs a name.")
	}
	kind, known := datatypes[datatypeName]
	if !known {
		return frame{}, models.Invalid(name, "The datatype %q of %q is not known.",
			models.Shorten(datatypeName), models.Shorten(name))
	}
	if len(shape) > rankMax {
		return frame{}, models.Invalid(name, "The shape of %q has more than %d dimensions.", models.Shorten(name), rankMax)
	}
	elements := int64(1)
	for _, dimension := range shape {
		if dimension < 0 {
			return frame{}, models.Invalid(name, "The shape of %q holds a negative number.", models.Shorten(name))
		}
		if dimension > elementsMax || elements*dimension > elementsMax {
			return frame{}, models.Invalid(name, "The shape of %q has more than %d elements.",
				models.Shorten(name), int64(elementsMax))
		}
		elements *= dimension
	}
	return frame{name, datatypeName, shape, kind, int(elements)}, nil
}

// tensor gives the tensor of a frame and raw data that fit together.
func (frame frame) tensor(data []byte) (*v1.Tensor, error) {
	if err := frame.checkSize(len(data)); err != nil {
		return nil, err
	}
	if frame.kind.size > 0 {
		return frame.with(data), nil
	}
	if count, isWhole := countBytes(data); !isWhole || count != frame.elements {
		return nil, models.Invalid(frame.name, "The data of %q is not %d elements of BYTES, each after its 32-bit length.",
			models.Shorten(frame.name), frame.elements)
	}
	return frame.with(data), nil
}

func (frame frame) with(data []byte) *v1.Tensor {
	return &v1.Tensor{Name: frame.name, Datatype: frame.datatype, Shape: frame.shape, Data: data}
}

// checkSize refuses a number of bytes that shape and datatype do not make. Of BYTES, any may be right.
func (frame frame) checkSize(size int) error {
	if want := frame.elements * frame.kind.size; frame.kind.size > 0 && size != want {
		return models.Invalid(frame.name, "The data of %q has %d bytes; its shape and datatype make %d.",
			models.Shorten(frame.name), size, want)
	}
	return nil
}

// countBytes counts the elements of BYTES data, and tells whether the last one ends where the data ends.
func countBytes(data []byte) (count int, isWhole bool) {
	for len(data) > 0 {
		element, rest, ok := nextBytes(data)
		if !ok {
			return count, false
		}
		_ = element
		data = rest
		count++
	}
	return count, true
}

// nextBytes gives the first element of BYTES data and what follows it.
func nextBytes(data []byte) (element, rest []byte, ok bool) {
	if len(data) < lengthBytes {
		return nil, nil, false
	}
	length := uint64(binary.LittleEndian.Uint32(data))
	if uint64(len(data)-lengthBytes) < length {
		return nil, nil, false
	}
	end := lengthBytes + int(length)
	return data[lengthBytes:end], data[end:], true
}

// appendBytes adds an element to BYTES data.
func appendBytes(data, element []byte) []byte {
	data = binary.LittleEndian.AppendUint32(data, uint32(len(element)))
	return append(data, element...)
}

// elementsOf gives the elements of BYTES data.
func elementsOf(data []byte) (elements [][]byte) {
	for len(data) > 0 {
		element, rest, ok := nextBytes(data)
		if !ok {
			return elements
		}
		elements, data = append(elements, element), rest
	}
	return elements
}

// Package tensors says what a tensor is, for all that read or make one: datatypes, shapes, and data that fits both. The data
// is raw, little-endian and row-major; an element of BYTES is a 32-bit length and that many bytes.
package tensors

import (
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

const (
	// DimensionsMax bounds the lengths of a shape.
	DimensionsMax = 16
	// ElementsMax bounds the elements of a tensor; it keeps all sizes far from overflow.
	ElementsMax = 1 << 31
)

// elementBytes of each datatype that the protocols know; 0 where each element has its own length.
var elementBytes = map[string]int{
	"BOOL": 1, "UINT8": 1, "INT8": 1,
	"UINT16": 2, "INT16": 2, "FP16": 2, "BF16": 2,
	"UINT32": 4, "INT32": 4, "FP32": 4,
	"UINT64": 8, "INT64": 8, "FP64": 8,
	"BYTES": 0,
}

// ElementBytes is the length of one element, 0 for BYTES; false for a datatype that there is not.
func ElementBytes(datatype string) (bytes int, known bool) {
	bytes, known = elementBytes[datatype]
	return bytes, known
}

// Frame is a tensor without its data, whose name, datatype and shape have been checked.
type Frame struct {
	Name, Datatype string
	Shape          []int64
	// ElementBytes is 0 for BYTES.
	ElementBytes int
	// Elements is the product of the shape.
	Elements int
}

// NewFrame checks the name, the datatype and the shape.
func NewFrame(name, datatype string, shape []int64) (Frame, error) {
	if name == "" {
		return Frame{}, models.Invalid("inputs", "Every tensor needs a name.")
	}
	bytes, known := ElementBytes(datatype)
	if !known {
		return Frame{}, models.Invalid(name, "The datatype %q of %q is not known.",
			models.Shorten(datatype), models.Shorten(name))
	}
	elements, err := product(name, shape)
	return Frame{name, datatype, shape, bytes, elements}, err
}

// product is the number of elements that a shape makes.
func product(name string, shape []int64) (int, error) {
	if len(shape) > DimensionsMax {
		return 0, models.Invalid(name, "The shape of %q has more than %d dimensions.", models.Shorten(name), DimensionsMax)
	}
	elements := int64(1)
	for _, length := range shape {
		if length < 0 {
			return 0, models.Invalid(name, "The shape of %q holds a negative number.", models.Shorten(name))
		}
		// Both factors are at most 2³¹: their product fits.
		if length > ElementsMax || elements*length > ElementsMax {
			return 0, models.Invalid(name, "The shape of %q has more than %d elements.", models.Shorten(name), int64(ElementsMax))
		}
		elements *= length
	}
	return int(elements), nil
}

// CheckSize refuses a number of bytes that shape and datatype do not make. Of BYTES, any may be right.
func (frame Frame) CheckSize(size int) error {
	if want := frame.Elements * frame.ElementBytes; frame.ElementBytes > 0 && size != want {
		return models.Invalid(frame.Name, "The data of %q has %d bytes; its shape and datatype make %d.",
			models.Shorten(frame.Name), size, want)
	}
	return nil
}

// Check refuses data that does not fit.
func (frame Frame) Check(data []byte) error {
	if frame.ElementBytes > 0 {
		return frame.CheckSize(len(data))
	}
	if count, isWhole := countStrings(data); !isWhole || count != frame.Elements {
		return models.Invalid(frame.Name, "The data of %q is not %d elements of BYTES, each after its 32-bit length.",
			models.Shorten(frame.Name), frame.Elements)
	}
	return nil
}

// Tensor is the tensor of a frame and data that fit together. It keeps both.
func (frame Frame) Tensor(data []byte) (*v1.Tensor, error) {
	if err := frame.Check(data); err != nil {
		return nil, err
	}
	return &v1.Tensor{Name: frame.Name, Datatype: frame.Datatype, Shape: frame.Shape, Data: data}, nil
}

// Check refuses a tensor whose parts do not fit together.
func Check(tensor *v1.Tensor) error {
	frame, err := NewFrame(tensor.GetName(), tensor.GetDatatype(), tensor.GetShape())
	if err != nil {
		return err
	}
	return frame.Check(tensor.GetData())
}

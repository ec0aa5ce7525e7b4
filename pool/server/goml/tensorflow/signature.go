//go:build tensorflow

package tensorflow

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	v1 "treeline.dev/pool/gen/treeline/v1"
)

// endpoint is an input or output of a signature: its name for callers, and the operation in the graph.
type endpoint struct {
	info      *v1.TensorInfo
	operation string
	output    int
}

// datatypes are TensorFlow's DataType numbers (tensorflow/core/framework/types.proto).
var datatypes = map[uint64]string{
	1: "FP32", 2: "FP64", 3: "INT32", 4: "UINT8", 5: "INT16", 6: "INT8", 9: "INT64", 10: "BOOL", 14: "BF16", 17: "UINT16",
	19: "FP16", 22: "UINT32", 23: "UINT64",
}

func numberOf(datatype string) int {
	for number, name := range datatypes {
		if name == datatype {
			return int(number)
		}
	}
	return 0
}

var errDescription = errors.New("the SavedModel's description cannot be read")

// fields calls visit with each field of an encoded message, and fails where it is none.
func fields(message []byte, visit func(number protowire.Number, bytes []byte, varint uint64) error) error {
	for len(message) > 0 {
		number, kind, length := protowire.ConsumeTag(message)
		if length < 0 {
			return errDescription
		}
		message = message[length:]
		var bytes []byte
		var varint uint64
		switch kind {
		case protowire.BytesType:
			bytes, length = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			varint, length = protowire.ConsumeVarint(message)
		default:
			length = protowire.ConsumeFieldValue(number, kind, message)
		}
		if length < 0 {
			return errDescription
		}
		if err := visit(number, bytes, varint); err != nil {
			return err
		}
		message = message[length:]
	}
	return nil
}

// entry is a key and a value of an encoded map.
func entry(message []byte) (key string, value []byte, err error) {
	err = fields(message, func(number protowire.Number, bytes []byte, _ uint64) error {
		switch number {
		case 1:
			key = string(bytes)
		case 2:
			value = bytes
		}
		return nil
	})
	return key, value, err
}

// readSignature finds a signature in a MetaGraphDef (tensorflow/core/protobuf/meta_graph.proto: field 5 is the map of
// signatures, whose fields 1 and 2 are the maps of inputs and outputs).
func readSignature(description []byte, wanted string) (inputs, outputs []endpoint, err error) {
	var found []byte
	var names []string
	err = fields(description, func(number protowire.Number, bytes []byte, _ uint64) error {
		if number != 5 {
			return nil
		}
		name, signature, err := entry(bytes)
		names = append(names, name)
		if name == wanted {
			found = signature
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if found == nil {
		sort.Strings(names)
		return nil, nil, fmt.Errorf("the SavedModel has no signature %q; it has: %s", wanted, strings.Join(names, ", "))
	}
	err = fields(found, func(number protowire.Number, bytes []byte, _ uint64) error {
		if number != 1 && number != 2 {
			return nil
		}
		name, information, err := entry(bytes)
		if err != nil {
			return err
		}
		made, err := readEndpoint(name, information)
		if number == 1 {
			inputs = append(inputs, made)
		} else {
			outputs = append(outputs, made)
		}
		return err
	})
	// Maps come in any order.
	for _, endpoints := range [][]endpoint{inputs, outputs} {
		sort.Slice(endpoints, func(a, b int) bool { return endpoints[a].info.Name < endpoints[b].info.Name })
	}
	return inputs, outputs, err
}

// readEndpoint reads a TensorInfo: field 1 is "operation:output", 2 the type, 3 the shape.
func readEndpoint(name string, message []byte) (endpoint, error) {
	made := endpoint{info: &v1.TensorInfo{Name: name}}
	err := fields(message, func(number protowire.Number, bytes []byte, varint uint64) (err error) {
		switch number {
		case 1:
			operation, output, _ := strings.Cut(string(bytes), ":")
			made.operation = operation
			if output != "" {
				made.output, err = strconv.Atoi(output)
			}
		case 2:
			made.info.Datatype = datatypes[varint]
		case 3:
			made.info.Shape, err = readShape(bytes)
		}
		return err
	})
	if err == nil && made.info.Datatype == "" {
		err = fmt.Errorf("%q is of a type that this backend does not take", name)
	}
	return made, err
}

// readShape reads a TensorShapeProto: field 2 are the dimensions, whose field 1 is the length.
func readShape(message []byte) (shape []int64, err error) {
	err = fields(message, func(number protowire.Number, bytes []byte, _ uint64) error {
		if number != 2 {
			return nil
		}
		length := int64(0)
		err := fields(bytes, func(number protowire.Number, _ []byte, varint uint64) error {
			if number == 1 {
				length = int64(varint)
			}
			return nil
		})
		shape = append(shape, length)
		return err
	})
	return shape, err
}

package rpc

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"weak"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/gen/inference"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// Fields that hold tensors' data, by the numbers of proto/services.proto and proto/open_inference.proto.
const (
	inputsField      protowire.Number = 4 // InferRequest.inputs
	dataField        protowire.Number = 4 // Tensor.data
	rawContentsField protowire.Number = 7 // ModelInferRequest.raw_input_contents
)

// tensorCodec is protobuf's binary form, but for requests with tensors: their data goes from the message on the wire straight
// into memory that the engine reads where it lies, not by way of this process's heap.
type tensorCodec struct {
	// reserve gives such memory for a model, or nil where there is none.
	reserve func(model string, size int) *engine.Buffer
	// held are the buffers of messages that were read, by weak pointers to them.
	held sync.Map
}

// Name is that of the form which this one stands in for.
func (*tensorCodec) Name() string { return "proto" }

var errNoMessage = errors.New("rpc: not a message of protobuf")

// Marshal encodes a message.
func (codec *tensorCodec) Marshal(message any) ([]byte, error) {
	return codec.MarshalAppend(nil, message)
}

// MarshalAppend encodes a message behind what is there already.
func (*tensorCodec) MarshalAppend(into []byte, message any) ([]byte, error) {
	encodable, ok := message.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%w: %T", errNoMessage, message)
	}
	return proto.MarshalOptions{}.MarshalAppend(into, encodable)
}

// Unmarshal reads a message. What release is not called for is given back when the message is collected.
func (codec *tensorCodec) Unmarshal(data []byte, message any) error {
	switch message := message.(type) {
	case *inference.ModelInferRequest:
		if rest, raws, ok := cut(data, rawContentsField); ok {
			if err := proto.Unmarshal(rest, message); err != nil {
				return err
			}
			message.RawInputContents = hold(codec, message, message.GetModelName(), raws)
			return nil
		}
	case *v1.InferRequest:
		if rest, raws, ok := cutInputs(data); ok {
			if err := proto.Unmarshal(rest, message); err != nil {
				return err
			}
			for index, raw := range hold(codec, message, message.GetModel(), raws) {
				message.Inputs[index].Data = raw
			}
			return nil
		}
	case proto.Message:
		return proto.Unmarshal(data, message)
	default:
		return fmt.Errorf("%w: %T", errNoMessage, message)
	}
	// Malformed: protobuf itself says how.
	return proto.Unmarshal(data, message.(proto.Message))
}

// cut takes the values of a field of bytes out of an encoded message. They lie where they lay; the rest is new.
func cut(data []byte, field protowire.Number) (rest []byte, values [][]byte, ok bool) {
	for len(data) > 0 {
		number, kind, tagLength := protowire.ConsumeTag(data)
		if tagLength < 0 {
			return nil, nil, false
		}
		valueLength := protowire.ConsumeFieldValue(number, kind, data[tagLength:])
		if valueLength < 0 {
			return nil, nil, false
		}
		whole := data[:tagLength+valueLength]
		if number == field && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(whole[tagLength:])
			values = append(values, value)
		} else {
			rest = append(rest, whole...)
		}
		data = data[len(whole):]
	}
	return rest, values, true
}

// cutInputs takes the data out of the tensors of an encoded InferRequest: one value a tensor, nil where it has none.
func cutInputs(data []byte) (rest []byte, values [][]byte, ok bool) {
	rest, inputs, ok := cut(data, inputsField)
	if !ok {
		return nil, nil, false
	}
	for _, input := range inputs {
		described, raws, ok := cut(input, dataField)
		if !ok {
			return nil, nil, false
		}
		var raw []byte
		if len(raws) > 0 {
			raw = raws[len(raws)-1] // As protobuf has it: the last one counts.
		}
		values = append(values, raw)
		rest = protowire.AppendBytes(protowire.AppendTag(rest, inputsField, protowire.BytesType), described)
	}
	return rest, values, true
}

// hold copies values into reserved memory, which the message holds until its release.
func hold[Message any](codec *tensorCodec, message *Message, model string, values [][]byte) [][]byte {
	placed := make([][]byte, len(values))
	var buffers []*engine.Buffer
	for index, value := range values {
		if len(value) == 0 {
			continue
		}
		if buffer := codec.reserve(model, len(value)); buffer != nil {
			buffers = append(buffers, buffer)
			placed[index] = buffer.Bytes
			copy(buffer.Bytes, value)
		} else {
			placed[index] = append([]byte(nil), value...)
		}
	}
	if len(buffers) > 0 {
		key := weak.Make(message)
		codec.held.Store(key, buffers)
		// A message that no handler gets to see: refused by what stands between.
		runtime.AddCleanup(message, func(key weak.Pointer[Message]) { codec.giveBack(key) }, key)
	}
	return placed
}

// holds tells whether a message has memory to give back.
func (codec *tensorCodec) holds(message any) bool {
	_, isHeld := codec.held.Load(keyOf(message))
	return isHeld
}

// release gives back what a message holds; its tensors must not be read any more. Of others it does nothing.
func (codec *tensorCodec) release(message any) { codec.giveBack(keyOf(message)) }

// keyOf is a weak pointer to a message that may hold memory; nil for any other.
func keyOf(message any) any {
	switch message := message.(type) {
	case *inference.ModelInferRequest:
		return weak.Make(message)
	case *v1.InferRequest:
		return weak.Make(message)
	}
	return nil
}

func (codec *tensorCodec) giveBack(key any) {
	buffers, isHeld := codec.held.LoadAndDelete(key)
	if !isHeld {
		return
	}
	for _, buffer := range buffers.([]*engine.Buffer) {
		buffer.Release()
	}
}

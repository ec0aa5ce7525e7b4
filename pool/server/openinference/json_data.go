package openinference

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
	"treeline.dev/pool/tensors"
)

// parseData turns a tensor's `data`, valid JSON of nested or flat arrays in row-major order, into raw bytes in memory.
func parseData(frame tensors.Frame, data []byte, into *memory) ([]byte, error) {
	if isRawOnly(frame.Datatype) {
		return nil, models.Invalid(frame.Name, "%s has no form in JSON: send %q as binary data.",
			frame.Datatype, models.Shorten(frame.Name))
	}
	// As much as the shape claims, but no more than the text could hold: a value has at least two characters, and a text in
	// JSON is at least as long as what it says.
	size := min(frame.Elements, len(data)/2+1) * frame.ElementBytes
	if frame.ElementBytes == 0 {
		size = min(frame.Elements, len(data)/2+1)*tensors.LengthBytes + len(data)
	}
	raw := into.room(size)
	count := 0
	for position := 0; position < len(data); {
		switch data[position] {
		case '[', ']', ',', ' ', '\t', '\n', '\r':
			position++
			continue
		}
		end := valueEnd(data, position)
		var ok bool
		if raw, ok = appendValue(raw, frame.Datatype, data[position:end]); !ok {
			return nil, models.Invalid(frame.Name, "Element %d of %q is not a value of %s.",
				count, models.Shorten(frame.Name), frame.Datatype)
		}
		count++
		position = end
	}
	if count != frame.Elements {
		return nil, models.Invalid(frame.Name, "The data of %q has %d elements; its shape makes %d.",
			models.Shorten(frame.Name), count, frame.Elements)
	}
	return raw, nil
}

// valueEnd is where the JSON value that begins at `start` ends. An object ends at once, and is no value of any datatype.
func valueEnd(data []byte, start int) int {
	if data[start] != '"' {
		end := start + 1
		for end < len(data) && data[end] != ',' && data[end] != ']' && data[end] > ' ' {
			end++
		}
		return end
	}
	end := start + 1
	for end < len(data) && data[end] != '"' {
		if data[end] == '\\' {
			end++
		}
		end++
	}
	return min(end+1, len(data))
}

// appendValue adds a JSON value as an element of the datatype; false where it is none.
func appendValue(raw []byte, datatypeName string, value []byte) ([]byte, bool) {
	switch datatypeName {
	case "BOOL":
		return appendBool(raw, string(value))
	case "BYTES":
		var text string
		if json.Unmarshal(value, &text) != nil || value[0] != '"' {
			return raw, false
		}
		return tensors.AppendString(raw, []byte(text)), true
	case "FP32":
		number, err := strconv.ParseFloat(string(value), 32)
		return binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(number))), err == nil
	case "FP64":
		number, err := strconv.ParseFloat(string(value), 64)
		return binary.LittleEndian.AppendUint64(raw, math.Float64bits(number)), err == nil
	case "UINT8", "UINT16", "UINT32", "UINT64":
		size, _ := tensors.ElementBytes(datatypeName)
		number, err := strconv.ParseUint(string(value), 10, size*8)
		return appendInteger(raw, size, number), err == nil
	}
	size, _ := tensors.ElementBytes(datatypeName)
	number, err := strconv.ParseInt(string(value), 10, size*8)
	return appendInteger(raw, size, uint64(number)), err == nil
}

func appendBool(raw []byte, value string) ([]byte, bool) {
	switch value {
	case "true":
		return append(raw, 1), true
	case "false":
		return append(raw, 0), true
	}
	return raw, false
}

// appendInteger adds the low `size` bytes of a number.
func appendInteger(raw []byte, size int, number uint64) []byte {
	var bytes [8]byte
	binary.LittleEndian.PutUint64(bytes[:], number)
	return append(raw, bytes[:size]...)
}

// formatData turns raw data into a flat JSON array.
func formatData(tensor *v1.Tensor) (json.RawMessage, error) {
	if isRawOnly(tensor.GetDatatype()) {
		return nil, models.Invalid(tensor.GetName(), "%s has no form in JSON: ask for %q as binary data.",
			tensor.GetDatatype(), tensor.GetName())
	}
	size, _ := tensors.ElementBytes(tensor.GetDatatype())
	text := append(make([]byte, 0, len(tensor.GetData())*2+2), '[')
	data := tensor.GetData()
	for len(data) > 0 {
		if len(text) > 1 {
			text = append(text, ',')
		}
		var ok bool
		if text, data, ok = formatNext(text, tensor.GetDatatype(), size, data); !ok {
			return nil, models.Invalid(tensor.GetName(),
				"%q holds a value that has no form in JSON: ask for it as binary data.", tensor.GetName())
		}
	}
	return append(text, ']'), nil
}

// formatNext adds the first element of data, and gives what follows it.
func formatNext(text []byte, datatypeName string, size int, data []byte) (longer, rest []byte, ok bool) {
	if datatypeName == "BYTES" {
		element, rest, ok := tensors.NextString(data)
		if !ok || !utf8.Valid(element) {
			return text, nil, false
		}
		quoted, err := json.Marshal(string(element))
		return append(text, quoted...), rest, err == nil
	}
	if len(data) < size || size == 0 {
		return text, nil, false
	}
	var padded [8]byte
	copy(padded[:], data[:size])
	bits := binary.LittleEndian.Uint64(padded[:])
	rest = data[size:]
	switch datatypeName {
	case "BOOL":
		return strconv.AppendBool(text, bits != 0), rest, true
	case "FP32":
		return appendFloat(text, float64(math.Float32frombits(uint32(bits))), 32, rest)
	case "FP64":
		return appendFloat(text, math.Float64frombits(bits), 64, rest)
	case "UINT8", "UINT16", "UINT32", "UINT64":
		return strconv.AppendUint(text, bits, 10), rest, true
	}
	// Shifted up and down again, the sign of a shorter integer fills the upper bits.
	shift := 64 - 8*size
	return strconv.AppendInt(text, int64(bits<<shift)>>shift, 10), rest, true
}

// appendFloat adds the shortest text that reads as the same number; JSON has none for infinities and NaN.
func appendFloat(text []byte, value float64, bits int, rest []byte) ([]byte, []byte, bool) {
	if math.IsInf(value, 0) || math.IsNaN(value) {
		return text, nil, false
	}
	if value == 0 && math.Signbit(value) {
		// Readers that tell integers from floats would take "-0" for the integer, which has no sign.
		return append(text, "-0.0"...), rest, true
	}
	return strconv.AppendFloat(text, value, 'g', -1, bits), rest, true
}

package tensors

import "encoding/binary"

// LengthBytes are in front of each element of BYTES.
const LengthBytes = 4

// NextString gives the first element of BYTES data, where it lies, and what follows it; false where it does not end.
func NextString(data []byte) (element, rest []byte, ok bool) {
	if len(data) < LengthBytes {
		return nil, nil, false
	}
	length := uint64(binary.LittleEndian.Uint32(data))
	if uint64(len(data)-LengthBytes) < length {
		return nil, nil, false
	}
	end := LengthBytes + int(length)
	return data[LengthBytes:end], data[end:], true
}

// AppendString adds an element to BYTES data.
func AppendString(data, element []byte) []byte {
	data = binary.LittleEndian.AppendUint32(data, uint32(len(element)))
	return append(data, element...)
}

// Strings are the elements of BYTES data, where they lie; false where the last one does not end where the data ends.
func Strings(data []byte) (elements [][]byte, isWhole bool) {
	for len(data) > 0 {
		element, rest, ok := NextString(data)
		if !ok {
			return elements, false
		}
		elements, data = append(elements, element), rest
	}
	return elements, true
}

// countStrings is the number of Strings.
func countStrings(data []byte) (count int, isWhole bool) {
	for len(data) > 0 {
		_, rest, ok := NextString(data)
		if !ok {
			return count, false
		}
		data = rest
		count++
	}
	return count, true
}

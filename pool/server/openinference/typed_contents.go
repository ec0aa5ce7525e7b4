package openinference

import (
	"encoding/binary"
	"math"

	"treeline.dev/pool/gen/inference"
	"treeline.dev/pool/models"
	"treeline.dev/pool/tensors"
)

// parseContents turns a tensor's typed contents into raw data.
func parseContents(frame tensors.Frame, contents *inference.InferTensorContents) ([]byte, error) {
	var raw []byte
	ok := true
	switch frame.Datatype {
	case "BOOL":
		for _, value := range contents.GetBoolContents() {
			raw = appendInteger(raw, 1, map[bool]uint64{true: 1}[value])
		}
	case "INT8", "INT16", "INT32":
		bits := frame.ElementBytes * 8
		for _, value := range contents.GetIntContents() {
			ok = ok && int64(value) == int64(value)<<(64-bits)>>(64-bits)
			raw = appendInteger(raw, frame.ElementBytes, uint64(value))
		}
	case "UINT8", "UINT16", "UINT32":
		for _, value := range contents.GetUintContents() {
			ok = ok && uint64(value) < 1<<(frame.ElementBytes*8)
			raw = appendInteger(raw, frame.ElementBytes, uint64(value))
		}
	case "INT64":
		for _, value := range contents.GetInt64Contents() {
			raw = binary.LittleEndian.AppendUint64(raw, uint64(value))
		}
	case "UINT64":
		for _, value := range contents.GetUint64Contents() {
			raw = binary.LittleEndian.AppendUint64(raw, value)
		}
	case "FP32":
		for _, value := range contents.GetFp32Contents() {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(value))
		}
	case "FP64":
		for _, value := range contents.GetFp64Contents() {
			raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(value))
		}
	case "BYTES":
		for _, value := range contents.GetBytesContents() {
			raw = tensors.AppendString(raw, value)
		}
	default:
		return nil, models.Invalid(frame.Name, "%s has no typed contents: send %q in raw_input_contents.",
			frame.Datatype, models.Shorten(frame.Name))
	}
	if !ok {
		return nil, models.Invalid(frame.Name, "An element of %q does not fit %s.",
			models.Shorten(frame.Name), frame.Datatype)
	}
	return raw, nil
}

package openinference

import "treeline.dev/pool/gen/inference"

// tensorsMax bounds the inputs, and the outputs, of a call.
const tensorsMax = 64

// isRawOnly tells the datatypes for which JSON and the typed contents have no form, so that they travel as bytes alone.
func isRawOnly(datatype string) bool { return datatype == "FP16" || datatype == "BF16" }

// configTypes are the datatypes' names in a model's configuration.
var configTypes = map[string]inference.DataType{
	"BOOL":   inference.DataType_TYPE_BOOL,
	"UINT8":  inference.DataType_TYPE_UINT8,
	"UINT16": inference.DataType_TYPE_UINT16,
	"UINT32": inference.DataType_TYPE_UINT32,
	"UINT64": inference.DataType_TYPE_UINT64,
	"INT8":   inference.DataType_TYPE_INT8,
	"INT16":  inference.DataType_TYPE_INT16,
	"INT32":  inference.DataType_TYPE_INT32,
	"INT64":  inference.DataType_TYPE_INT64,
	"FP16":   inference.DataType_TYPE_FP16,
	"BF16":   inference.DataType_TYPE_BF16,
	"FP32":   inference.DataType_TYPE_FP32,
	"FP64":   inference.DataType_TYPE_FP64,
	"BYTES":  inference.DataType_TYPE_STRING,
}

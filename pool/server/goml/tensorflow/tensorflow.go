// Package tensorflow serves SavedModels by TensorFlow's C API, from the library that PyPI's tensorflow packages carry
// (libtensorflow_cc.so.2, opened at run time: Go's own binding is not to be had through the module proxy).
//
// It is compiled in by the build tag `tensorflow`; without it, models of this backend are listed with that reason.
//
// version.json: backend "tensorflow", file "saved_model" (the folder), settings {"signature": "serving_default"}. Inputs
// and outputs are those of the signature.
package tensorflow

// signatureDefault is the signature that TensorFlow's own servers answer by.
const signatureDefault = "serving_default"

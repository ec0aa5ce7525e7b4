package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"treeline.dev/pool/goml"
	"treeline.dev/pool/goml/golearn"
	"treeline.dev/pool/goml/gorgonia"
	"treeline.dev/pool/goml/onnx"
	"treeline.dev/pool/goml/tensorflow"
	"treeline.dev/pool/models"
	"treeline.dev/pool/upstream"
)

// Variables that name the libraries which Go models open, and the folder in which ONNX Runtime is looked for without one.
const (
	onnxLibraryVariable       = "ORT_DYLIB_PATH"
	tensorflowLibraryVariable = "TENSORFLOW_LIBRARY"
	modelDirectoryVariable    = "TREELINE_MODEL_DIRECTORY"
)

// onnxLibrary is the path of ONNX Runtime's library: as the environment says, or where the models are fetched to. Where it
// is nowhere, the backend says so for each of its models.
func onnxLibrary(environment func(string) string) string {
	if path := environment(onnxLibraryVariable); path != "" {
		return path
	}
	folder := environment(modelDirectoryVariable)
	if folder == "" {
		folder = filepath.Join(environment("HOME"), ".cache", "treeline", "models")
	}
	// The pattern is well formed, which is all that can fail here.
	found, _ := filepath.Glob(filepath.Join(folder, "onnxruntime", "libonnxruntime.so*"))
	if len(found) == 0 {
		return "libonnxruntime.so"
	}
	return found[0]
}

// goProvider serves the Go models' repository.
func goProvider(folder string) (*goml.Provider, error) {
	return goml.Open(folder, golearn.New(), gorgonia.New(),
		onnx.New(onnxLibrary(os.Getenv)), tensorflow.New(os.Getenv(tensorflowLibraryVariable)))
}

// upstreamProviders are the engines made by others that the file names.
func upstreamProviders(path string) ([]models.Provider, error) {
	if path == "" {
		return nil, nil
	}
	configurations, err := upstream.Read(path)
	if err != nil {
		return nil, err
	}
	var providers []models.Provider
	for _, configuration := range configurations {
		key := ""
		if name := configuration.APIKeyEnvironment; name != "" {
			if key = os.Getenv(name); key == "" {
				return nil, fmt.Errorf("the variable %s, which holds the key of %s, is not set", name, configuration.Name)
			}
		}
		provider, err := upstream.New(configuration, key, time.Now)
		if err != nil {
			return nil, err
		}
		providers = append(providers, provider)
	}
	return providers, nil
}

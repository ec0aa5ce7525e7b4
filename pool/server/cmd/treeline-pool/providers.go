package main

import (
	"fmt"
	"os"
	"time"

	"treeline.dev/pool/goml"
	"treeline.dev/pool/goml/golearn"
	"treeline.dev/pool/goml/gorgonia"
	"treeline.dev/pool/goml/onnx"
	"treeline.dev/pool/goml/tensorflow"
	"treeline.dev/pool/models"
	"treeline.dev/pool/upstream"
)

// Variables that name the libraries which Go models open.
const (
	onnxLibraryVariable       = "TREELINE_ONNXRUNTIME_LIBRARY"
	tensorflowLibraryVariable = "TREELINE_TENSORFLOW_LIBRARY"
)

// goProvider serves the Go models' repository.
func goProvider(folder string) (*goml.Provider, error) {
	return goml.Open(folder, golearn.New(), gorgonia.New(),
		onnx.New(os.Getenv(onnxLibraryVariable)), tensorflow.New(os.Getenv(tensorflowLibraryVariable)))
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

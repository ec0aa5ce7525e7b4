package models_test

import (
	"context"
	"testing"

	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
)

// trainer trains by one backend, as the Rust engine and the Go models do.
type trainer struct {
	models.Unsupported
	name, backend string
}

func (trainer trainer) Name() string { return trainer.name }

func (trainer) Models(context.Context) ([]*v1.Model, error) { return nil, nil }

func (trainer) NodeLoad(context.Context) (*v1.NodeLoad, error) { return &v1.NodeLoad{}, nil }

func (trainer trainer) Train(_ context.Context, request *v1.TrainModelRequest) (*v1.TrainModelResponse, error) {
	if request.Backend != trainer.backend {
		return nil, models.Invalid("backend", "There is no backend %q here.", request.Backend)
	}
	return &v1.TrainModelResponse{Model: &v1.Model{Name: request.Model, Provider: trainer.name}}, nil
}

func (trainer trainer) Load(_ context.Context, request *v1.LoadModelRequest) (*v1.Model, error) {
	if request.Model != "new-"+trainer.backend {
		return nil, models.Invalid("model", "There is no folder of that name.")
	}
	return &v1.Model{Name: request.Model, Provider: trainer.name}, nil
}

func TestAModelThatNoListShowsYetIsLoadedByTheProviderThatFindsIt(t *testing.T) {
	providers := []models.Provider{trainer{name: "rust", backend: "linfa"}, trainer{name: "go", backend: "golearn"}}
	made := catalogue(t, models.Options{Providers: providers})
	model, err := made.Load(t.Context(), &v1.LoadModelRequest{Model: "new-golearn"})
	if err != nil || model.Provider != "go" {
		t.Errorf("%v, %v", model, err)
	}
	if _, err := made.Load(t.Context(), &v1.LoadModelRequest{Model: "none"}); models.Describe(err).HTTP != 400 {
		t.Errorf("%v", err)
	}
}

func TestATrainingFindsTheProviderThatHasItsBackend(t *testing.T) {
	providers := []models.Provider{trainer{name: "rust", backend: "linfa"}, trainer{name: "go", backend: "golearn"}}
	made := catalogue(t, models.Options{Providers: providers})
	for backend, expected := range map[string]string{"linfa": "rust", "golearn": "go"} {
		response, err := made.Train(t.Context(), &v1.TrainModelRequest{Model: "new", Backend: backend})
		if err != nil || response.Model.Provider != expected {
			t.Errorf("%s: %v, %v", backend, response, err)
		}
	}
	_, err := made.Train(t.Context(), &v1.TrainModelRequest{Model: "new", Backend: "golearm"})
	if failure := models.Describe(err); failure.HTTP != 400 || failure.Parameter != "backend" {
		t.Errorf("%+v", failure)
	}
}

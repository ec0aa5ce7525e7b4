package models

import (
	"context"
	"errors"
	"testing"

	"treeline.dev/pool/engine"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

// giver is a provider whose engine gives memory while it has some.
type giver struct {
	Provider
	left int
	out  int
}

func (giver *giver) Name() string { return "giver" }

func (giver *giver) Models(context.Context) ([]*v1.Model, error) {
	return []*v1.Model{{Name: "model"}}, nil
}

func (giver *giver) Reserve(size int) (*engine.Buffer, error) {
	if giver.left == 0 {
		return nil, errors.New("no room")
	}
	giver.left--
	giver.out++
	return engine.NewBuffer(make([]byte, min(size, 16)), func() { giver.out-- }), nil
}

func TestMemoryIsReservedOfTheEngineThatAnswersForTheModel(t *testing.T) {
	provider := &giver{left: 100}
	catalogue, err := NewCatalogue(Options{Providers: []Provider{provider}, Aliases: map[string]string{"alias": "model"}})
	if err != nil {
		t.Fatal(err)
	}
	if catalogue.Reserve("model", 1) != nil {
		t.Error("nobody was asked for models yet")
	}
	catalogue.Refresh(t.Context())
	if catalogue.Reserve("unknown", 1) != nil {
		t.Error("memory for a model that is not there")
	}
	for _, name := range []string{"model", "alias", "giver/model"} {
		buffer := catalogue.Reserve(name, 1)
		if buffer == nil || provider.out != 1 {
			t.Fatalf("%s: %v, %d are out", name, buffer, provider.out)
		}
		buffer.Release()
		buffer.Release()
		if provider.out != 0 {
			t.Errorf("%s: %d are out", name, provider.out)
		}
	}
}

func TestRequestsHoldNoMoreThanTheirBound(t *testing.T) {
	provider := &giver{left: 5}
	catalogue, err := NewCatalogue(Options{Providers: []Provider{provider}})
	if err != nil {
		t.Fatal(err)
	}
	catalogue.Refresh(t.Context())
	whole := catalogue.Reserve("model", reservedBytesMax)
	if whole == nil {
		t.Fatal("the bound itself was refused")
	}
	if catalogue.Reserve("model", 1) != nil {
		t.Error("a byte beyond the bound was given")
	}
	whole.Release()
	// What the engine refuses counts nothing.
	for provider.left > 0 {
		catalogue.Reserve("model", 1).Release()
	}
	if catalogue.Reserve("model", reservedBytesMax) != nil {
		t.Error("memory where the engine has none")
	}
	provider.left = 1
	if catalogue.Reserve("model", reservedBytesMax) == nil {
		t.Error("what was refused is counted still")
	}
}

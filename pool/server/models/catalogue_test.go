package models_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/models"
	"treeline.dev/pool/models/modelstest"
)

func catalogue(t *testing.T, options models.Options) *models.Catalogue {
	t.Helper()
	made, err := models.NewCatalogue(options)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func statusOf(err error) enginev1.Status {
	var failed *engine.Error
	if !errors.As(err, &failed) {
		return enginev1.Status_STATUS_OK
	}
	return failed.Status
}

func nothing(*v1.GenerateResponse) error { return nil }

func TestTheFirstProviderWinsAClashAndTheOthersAreReachedByTheirName(t *testing.T) {
	first, second := &modelstest.Provider{ProviderName: "rust"}, &modelstest.Provider{ProviderName: "vllm-1"}
	made := catalogue(t, models.Options{
		Providers: []models.Provider{first, second}, Aliases: map[string]string{"test": modelstest.Chat},
	})
	ctx := context.Background()
	for _, call := range []struct {
		model string
		want  *modelstest.Provider
	}{
		{modelstest.Chat, first}, {"rust/" + modelstest.Chat, first},
		{"vllm-1/" + modelstest.Chat, second}, {"test", first},
	} {
		text := call.model
		if err := made.Generate(ctx, &v1.GenerateRequest{Model: call.model, Prompt: &text}, nothing); err != nil {
			t.Fatal(err)
		}
		if got := call.want.Last.Load(); got.GetPrompt() != text || got.GetModel() != modelstest.Chat {
			t.Errorf("%s went elsewhere: %v", call.model, got)
		}
	}
	listed, err := made.Models(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, model := range listed {
		names = append(names, model.GetName())
	}
	if len(names) != 6 || names[0] != modelstest.Chat || names[3] != "vllm-1/"+modelstest.Chat {
		t.Error(names)
	}
	if model, err := made.Model(ctx, "vllm-1/"+modelstest.Chat, ""); err != nil || model.GetProvider() != "vllm-1" {
		t.Error(model, err)
	}
}

func TestTwoProvidersOfOneNameAreRefused(t *testing.T) {
	same := []models.Provider{&modelstest.Provider{ProviderName: "a"}, &modelstest.Provider{ProviderName: "a"}}
	if _, err := models.NewCatalogue(models.Options{Providers: same}); !errors.Is(err, models.ErrProviderName) {
		t.Error(err)
	}
}

func TestAnUnknownModelOrVersionIsNotFound(t *testing.T) {
	made := catalogue(t, models.Options{Providers: []models.Provider{&modelstest.Provider{ProviderName: "a"}}})
	_, err := made.Embed(context.Background(), &v1.EmbedRequest{Model: "none"})
	if statusOf(err) != enginev1.Status_STATUS_MODEL_NOT_FOUND {
		t.Error(err)
	}
	if _, err = made.Model(context.Background(), modelstest.Identity, "9"); statusOf(err) != enginev1.Status_STATUS_MODEL_NOT_FOUND {
		t.Error(err)
	}
}

func TestCallsOverTheLimitAreRefusedAtOnce(t *testing.T) {
	slow := &modelstest.Provider{ProviderName: "a", Wait: time.Minute}
	made := catalogue(t, models.Options{Providers: []models.Provider{slow}, RunningMax: 2})
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() { _ = made.Generate(ctx, &v1.GenerateRequest{Model: modelstest.Chat}, nothing) })
	}
	waitUntil(t, func() bool { return made.Running() == 2 })
	err := made.Generate(ctx, &v1.GenerateRequest{Model: modelstest.Chat}, nothing)
	if statusOf(err) != enginev1.Status_STATUS_OVERLOADED {
		t.Error(err)
	}
	cancel()
	group.Wait()
	if made.Running() != 0 {
		t.Error(made.Running())
	}
}

func TestADrainRefusesNewCallsAndWaitsForThoseThatRun(t *testing.T) {
	slow := &modelstest.Provider{ProviderName: "a", Wait: 50 * time.Millisecond}
	made := catalogue(t, models.Options{Providers: []models.Provider{slow}})
	ctx := context.Background()
	text, ended := "one two three", make(chan error, 1)
	var usage atomic.Pointer[v1.Usage]
	go func() {
		ended <- made.Generate(ctx, &v1.GenerateRequest{Model: modelstest.Chat, Prompt: &text}, func(piece *v1.GenerateResponse) error {
			usage.Store(piece.GetUsage())
			return nil
		})
	}()
	waitUntil(t, func() bool { return made.Running() == 1 })
	made.BeginDrain()
	if _, err := made.Embed(ctx, &v1.EmbedRequest{Model: modelstest.Embedder}); statusOf(err) != enginev1.Status_STATUS_UNAVAILABLE {
		t.Error(err)
	}
	soon, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := made.Drain(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := made.Drain(ctx); err != nil {
		t.Error(err)
	}
	// The last piece alone carries the usage.
	if usage.Load() == nil {
		t.Error("the drain did not wait")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := made.Drain(ctx); err != nil {
		t.Error("a second drain waits:", err)
	}
}

func TestALoadedModelIsListedAtOnce(t *testing.T) {
	made := catalogue(t, models.Options{Providers: []models.Provider{&modelstest.Provider{ProviderName: "a"}}})
	ctx := context.Background()
	for _, want := range []v1.ModelState{v1.ModelState_MODEL_STATE_UNLOADED, v1.ModelState_MODEL_STATE_READY} {
		var err error
		if want == v1.ModelState_MODEL_STATE_READY {
			_, err = made.Load(ctx, &v1.LoadModelRequest{Model: modelstest.Identity})
		} else {
			err = made.Unload(ctx, &v1.UnloadModelRequest{Model: modelstest.Identity})
		}
		if err != nil {
			t.Fatal(err)
		}
		if model, err := made.Model(ctx, modelstest.Identity, ""); err != nil || model.GetState() != want {
			t.Error(model, err)
		}
	}
}

// failing cannot list its models.
type failing struct {
	modelstest.Provider
	isDown bool
}

func (provider *failing) Models(ctx context.Context) ([]*v1.Model, error) {
	if provider.isDown {
		return nil, errors.New("down")
	}
	return provider.Provider.Models(ctx)
}

func TestAProviderThatIsDownAnswersWithItsOwnFailure(t *testing.T) {
	why := &engine.Error{Status: enginev1.Status_STATUS_ENGINE_CRASHED, Message: "It died."}
	provider := &failing{Provider: modelstest.Provider{ProviderName: "a", Fail: why}}
	made := catalogue(t, models.Options{Providers: []models.Provider{provider}})
	made.Refresh(context.Background())
	provider.isDown = true
	made.Refresh(context.Background())
	_, err := made.Embed(context.Background(), &v1.EmbedRequest{Model: modelstest.Embedder})
	if statusOf(err) != enginev1.Status_STATUS_ENGINE_CRASHED {
		t.Error(err)
	}
}

func TestTheLoadShowsTokensASecondAndTheTimeToTheFirst(t *testing.T) {
	made := catalogue(t, models.Options{
		Providers: []models.Provider{&modelstest.Provider{ProviderName: "a", Wait: 2 * time.Millisecond}},
	})
	text := "one two three four"
	if err := made.Generate(context.Background(), &v1.GenerateRequest{Model: modelstest.Chat, Prompt: &text}, nothing); err != nil {
		t.Fatal(err)
	}
	load, err := made.NodeLoad(context.Background())
	if err != nil || load.GetTokensPerSecond() <= 0 || load.GetTimeToFirstTokenMs() < 2 {
		t.Error(load, err)
	}
}

func TestEveryStatusHasAnAnswerOfItsOwnCode(t *testing.T) {
	codes := map[string]enginev1.Status{}
	for number, name := range enginev1.Status_name {
		status := enginev1.Status(number)
		if status == enginev1.Status_STATUS_OK {
			continue
		}
		failure := models.Describe(&engine.Error{Status: status, Message: "Why.", Parameter: "field"})
		if failure.HTTP < 400 || failure.GRPC == 0 || failure.Type == "" || failure.Message != "Why." || failure.Parameter != "field" {
			t.Error(name, failure)
		}
		if other, taken := codes[failure.Code]; taken {
			t.Errorf("%s and %v share the code %s", name, other, failure.Code)
		}
		codes[failure.Code] = status
	}
	if failure := models.Describe(errors.New("the password is 123")); failure.HTTP != 500 || failure.Message == "the password is 123" {
		t.Error("the inside shows outside:", failure)
	}
}

func TestShortenedTextEndsOnACharacter(t *testing.T) {
	for _, text := range []string{"", "short", "ééééééééééééééééééééééééééééééééééééééééééééééééééééééééé", string(make([]byte, 500))} {
		if short := models.Shorten(text); len(short) > 84 || (len(text) <= 80 && short != text) {
			t.Errorf("%q", short)
		}
	}
}

func waitUntil(t *testing.T, isSo func() bool) {
	t.Helper()
	for range 1000 {
		if isSo() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it does not come to be")
}

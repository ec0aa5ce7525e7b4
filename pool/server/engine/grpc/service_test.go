package grpc

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/enginetest"
	"treeline.dev/pool/engine/shm"
	"treeline.dev/pool/engine/shm/shmtest"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

// serve answers for an engine on a free port, until the test ends.
func serve(t *testing.T, service *Service) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(NewHandler(service))
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// statisticsOf asks an engine.
func statisticsOf(to engine.Engine) func(context.Context) (*enginev1.EngineStats, error) {
	return func(ctx context.Context) (*enginev1.EngineStats, error) {
		reply, err := to.Call(ctx, &engine.Call{Operation: enginev1.Operation_OPERATION_STATS})
		if err != nil {
			return nil, err
		}
		defer reply.Release()
		statistics := &enginev1.EngineStats{}
		return statistics, proto.Unmarshal(reply.Header, statistics)
	}
}

func TestANodesEngineDoesForOtherHostsWhatEveryTransportDoes(t *testing.T) {
	behind := shmtest.Open(t, shm.Options{})
	address := serve(t, &Service{
		Engine: behind, Statistics: statisticsOf(behind),
		Enter: func() (func(), error) { return func() {}, nil },
	})
	enginetest.Run(t, enginetest.Transport{Engine: open(t, Options{Address: address})})
}

func TestANodeThatTakesNoCallsIsStillGreetedAndAskedHowItDoes(t *testing.T) {
	behind := shmtest.Open(t, shm.Options{})
	opened := open(t, Options{Address: serve(t, &Service{
		Engine: behind, Statistics: statisticsOf(behind),
		Enter: func() (func(), error) { return nil, engine.Refused(enginev1.Status_STATUS_UNAVAILABLE) },
	})})
	if _, err := statisticsOf(opened)(t.Context()); err != nil {
		t.Error(err)
	}
	for _, operation := range []enginev1.Operation{
		enginev1.Operation_OPERATION_ECHO, enginev1.Operation_OPERATION_LIST_MODELS, enginev1.Operation_OPERATION_GENERATE,
	} {
		_, err := opened.Call(t.Context(), &engine.Call{Operation: operation})
		var refusal *engine.Error
		if !errors.As(err, &refusal) || refusal.Status != enginev1.Status_STATUS_UNAVAILABLE {
			t.Errorf("%v: %v", operation, err)
		}
	}
}

package door

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"treeline.dev/pool/models"
)

// recorder sees what is answered, for the log line. Everything else of the writer is reached through Unwrap.
type recorder struct {
	http.ResponseWriter
	status  int
	bytes   int64
	failure *models.Failure
}

func (recorder *recorder) WriteHeader(status int) {
	if recorder.status == 0 {
		recorder.status = status
	}
	recorder.ResponseWriter.WriteHeader(status)
}

func (recorder *recorder) Write(data []byte) (int, error) {
	if recorder.status == 0 {
		recorder.status = http.StatusOK
	}
	written, err := recorder.ResponseWriter.Write(data)
	recorder.bytes += int64(written)
	return written, err
}

// Flush sends what was written: streams need it, and Connect looks for this very method.
func (recorder *recorder) Flush() { _ = http.NewResponseController(recorder.ResponseWriter).Flush() }

// Unwrap lets http.ResponseController reach the connection.
func (recorder *recorder) Unwrap() http.ResponseWriter { return recorder.ResponseWriter }

// NoteFailure lets the log line say why a request failed.
func NoteFailure(writer http.ResponseWriter, failure models.Failure) {
	for {
		switch layer := writer.(type) {
		case *recorder:
			layer.failure = &failure
			return
		case interface{ Unwrap() http.ResponseWriter }:
			writer = layer.Unwrap()
		default:
			return
		}
	}
}

// WithLog writes one line a request, and turns a panic into an answer 500 and a line with its stack. Paths that are
// asked every few seconds by machines (`quiet`) are logged when they fail.
func WithLog(log *slog.Logger, quiet map[string]bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		begun := time.Now()
		recorded := &recorder{ResponseWriter: writer}
		defer func() {
			if thrown := recover(); thrown != nil {
				answerPanic(log, recorded, request, thrown)
			}
			if quiet[request.URL.Path] && recorded.status < http.StatusBadRequest {
				return
			}
			log.LogAttrs(request.Context(), slog.LevelInfo, "request", lineOf(recorded, request, time.Since(begun))...)
		}()
		next.ServeHTTP(recorded, request)
	})
}

func answerPanic(log *slog.Logger, recorded *recorder, request *http.Request, thrown any) {
	// net/http's own way to drop a connection is not a fault.
	if thrown == http.ErrAbortHandler {
		panic(thrown)
	}
	log.ErrorContext(request.Context(), "panic", "path", request.URL.Path, "value", fmt.Sprint(thrown),
		"stack", string(debug.Stack()))
	if recorded.status != 0 {
		// The answer has begun: a broken connection is the only way left to say that it is not whole.
		panic(http.ErrAbortHandler)
	}
	http.Error(recorded, "Something went wrong on our side.", http.StatusInternalServerError)
}

func lineOf(recorded *recorder, request *http.Request, elapsed time.Duration) []slog.Attr {
	attributes := []slog.Attr{
		slog.String("method", request.Method),
		slog.String("path", models.Shorten(request.URL.Path)),
		slog.Int("status", recorded.status),
		slog.Float64("duration_ms", float64(elapsed.Microseconds())/1000),
		slog.Int64("bytes_sent", recorded.bytes),
	}
	if status := recorded.Header().Get(http.TrailerPrefix + "Grpc-Status"); status != "" {
		attributes = append(attributes, slog.String("grpc_status", status))
	}
	if failure := recorded.failure; failure != nil {
		attributes = append(attributes, slog.String("code", failure.Code), slog.String("reason", failure.Message))
	}
	if parent := request.Header.Get("Traceparent"); parent != "" {
		attributes = append(attributes, slog.String("traceparent", models.Shorten(parent)))
	}
	return attributes
}

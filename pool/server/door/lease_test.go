package door

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"treeline.dev/pool/engine"
)

// watchedWriter remembers deadlines, and keeps what it is given as a connection may.
type watchedWriter struct {
	http.ResponseWriter
	deadlines []time.Time
	given     [][]byte
}

func (watched *watchedWriter) SetWriteDeadline(deadline time.Time) error {
	watched.deadlines = append(watched.deadlines, deadline)
	return nil
}

func (watched *watchedWriter) Write(data []byte) (int, error) {
	watched.given = append(watched.given, data)
	return len(data), nil
}

// serveLeased answers with whatever handle does, and tells what the writer saw and how often the memory was given back.
func serveLeased(t *testing.T, holds bool, handle func(http.ResponseWriter, *http.Request)) (*watchedWriter, int) {
	t.Helper()
	watched := &watchedWriter{ResponseWriter: httptest.NewRecorder()}
	releases := 0
	func() {
		defer func() { _ = recover() }()
		WithLease(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
			if holds {
				engine.LeaseOf(request.Context()).Add(func() { releases++ })
			}
			handle(writer, request)
			if releases != 0 {
				t.Error("the memory was given back before the answer was written")
			}
		})).ServeHTTP(watched, httptest.NewRequest(http.MethodGet, "/", nil))
	}()
	return watched, releases
}

func TestMemoryIsGivenBackOnceAfterTheAnswerAlsoWhereTheHandlerPanics(t *testing.T) {
	for name, handle := range map[string]func(http.ResponseWriter, *http.Request){
		"an answer": func(writer http.ResponseWriter, _ *http.Request) { _, _ = writer.Write([]byte("abc")) },
		"a panic":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		if _, releases := serveLeased(t, true, handle); releases != 1 {
			t.Errorf("%s: given back %d times", name, releases)
		}
	}
}

func TestOnlyAnAnswerThatLiesInTheEnginesMemoryHasADeadlineAndTheNextHasNone(t *testing.T) {
	write := func(writer http.ResponseWriter, _ *http.Request) { _, _ = writer.Write([]byte("abc")) }
	before := time.Now()
	watched, _ := serveLeased(t, true, write)
	if len(watched.deadlines) != 2 || watched.deadlines[0].Before(before.Add(leasedWriteTimeMax)) || !watched.deadlines[1].IsZero() {
		t.Errorf("the deadlines are %v", watched.deadlines)
	}
	if watched, _ := serveLeased(t, false, write); len(watched.deadlines) != 0 {
		t.Errorf("the deadlines are %v", watched.deadlines)
	}
}

func TestByHTTP2NothingThatIsWrittenIsTheMemoryItself(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), pieceBytes/4)
	want := append([]byte(nil), data...)
	watched := &watchedWriter{ResponseWriter: httptest.NewRecorder()}
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	request.ProtoMajor = 2
	if err := WriteLeased(watched, request, data); err != nil {
		t.Fatal(err)
	}
	clear(data)
	if !bytes.Equal(bytes.Join(watched.given, nil), want) {
		t.Error("what was written changed with the memory, or is not the whole")
	}
}

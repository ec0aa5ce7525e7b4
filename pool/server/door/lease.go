package door

import (
	"net/http"
	"time"

	"treeline.dev/pool/engine"
)

// leasedWriteTimeMax bounds how long a client may take to read one piece of an answer that lies in the engine's memory.
const leasedWriteTimeMax = 60 * time.Second

// WithLease lets answers be written from where the engine put them: what a call under the request's context gives stays
// there until the handler has returned, in whatever way. Meanwhile a client that does not read is cut off, lest it hold the
// memory that others need.
func WithLease(next http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		ctx, lease := engine.WithLease(request.Context())
		defer lease.Release()
		leased := &leasedWriter{ResponseWriter: writer, lease: lease}
		defer leased.end()
		next.ServeHTTP(leased, request.WithContext(ctx))
	})
}

// leasedWriter bounds the time of writes while the lease holds memory.
type leasedWriter struct {
	http.ResponseWriter
	lease *engine.Lease
	// bounded is true once a write has had a deadline.
	bounded bool
}

func (leased *leasedWriter) Write(data []byte) (int, error) {
	if leased.lease.Holds() {
		leased.bounded = true
		// Recorders of tests have no deadline.
		_ = http.NewResponseController(leased.ResponseWriter).SetWriteDeadline(time.Now().Add(leasedWriteTimeMax))
	}
	return leased.ResponseWriter.Write(data)
}

// end takes the deadline away: the connection's next answer has none. What is buffered still has the full time.
func (leased *leasedWriter) end() {
	if leased.bounded {
		_ = http.NewResponseController(leased.ResponseWriter).SetWriteDeadline(time.Time{})
	}
}

// Flush sends what was written: streams need it, and Connect looks for this very method.
func (leased *leasedWriter) Flush() { _ = http.NewResponseController(leased.ResponseWriter).Flush() }

// Unwrap lets http.ResponseController reach the connection.
func (leased *leasedWriter) Unwrap() http.ResponseWriter { return leased.ResponseWriter }

// pieceBytes is how much of an answer is copied at once where it cannot be sent from where it lies.
const pieceBytes = 64 << 10

// WriteLeased writes data that is given back after the handler has returned. By HTTP/1 it goes out from where it lies. By
// HTTP/2 it is copied piece by piece: a client that ends its stream lets Write return while a frame is still being made of
// the bytes given, which then must not vanish.
func WriteLeased(writer http.ResponseWriter, request *http.Request, data []byte) error {
	if request.ProtoMajor < 2 {
		_, err := writer.Write(data)
		return err
	}
	for len(data) > 0 {
		// Not reused: the frame of a piece may be made after the next piece was begun.
		piece := append([]byte(nil), data[:min(len(data), pieceBytes)]...)
		if _, err := writer.Write(piece); err != nil {
			return err
		}
		data = data[len(piece):]
	}
	return nil
}

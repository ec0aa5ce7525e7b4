package openai

import (
	"bytes"
	"net/http"
	"time"

	"treeline.dev/pool/door"
	"treeline.dev/pool/models"
)

// eventTimeout bounds how long a client may leave an event unread before its generation is cancelled.
const eventTimeout = 60 * time.Second

// eventStream writes server-sent events. Nothing is sent before the first, so that a failure before it has its status.
type eventStream struct {
	writer     http.ResponseWriter
	controller *http.ResponseController
	buffer     bytes.Buffer
	begun      bool
}

func newEventStream(writer http.ResponseWriter) *eventStream {
	return &eventStream{writer: writer, controller: http.NewResponseController(writer)}
}

// event sends a value. An error means that the client has gone.
func (stream *eventStream) event(value any) error {
	stream.buffer.Reset()
	stream.buffer.WriteString("data: ")
	if err := door.EncodeJSON(&stream.buffer, value); err != nil {
		return err
	}
	stream.buffer.WriteString("\n")
	return stream.send(stream.buffer.Bytes())
}

func (stream *eventStream) send(data []byte) error {
	if !stream.begun {
		stream.begun = true
		header := stream.writer.Header()
		header.Set("Content-Type", "text/event-stream; charset=utf-8")
		header.Set("Cache-Control", "no-cache")
		// Proxies that buffer would turn the stream into one late answer.
		header.Set("X-Accel-Buffering", "no")
	}
	// A recorder in tests has no deadlines.
	_ = stream.controller.SetWriteDeadline(time.Now().Add(eventTimeout))
	if _, err := stream.writer.Write(data); err != nil {
		return err
	}
	return stream.controller.Flush()
}

// end sends the last event. A failure after the first event is an event itself: the status is long gone.
func (stream *eventStream) end(err error) error {
	if err != nil {
		if !stream.begun {
			return err
		}
		failure := models.Describe(err)
		door.NoteFailure(stream.writer, failure)
		if stream.event(bodyOf(failure)) != nil {
			return nil
		}
	}
	// Nobody is left to be told where this fails.
	_ = stream.send([]byte("data: [DONE]\n\n"))
	_ = stream.controller.SetWriteDeadline(time.Time{})
	return nil
}

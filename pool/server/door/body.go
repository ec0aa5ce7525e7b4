package door

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/models"
)

// Body is a request's body as its client meant it: decompressed, and bounded in bytes and time.
type Body struct {
	reader     io.Reader
	bounds     Bounds
	controller *http.ResponseController
	// contentLength is what the client says; negative: nothing.
	contentLength int64
}

// OpenBody begins to read a body, decompressed where the client compressed it by gzip or deflate. The caller closes it.
func OpenBody(writer http.ResponseWriter, request *http.Request, bounds Bounds) (*Body, error) {
	// A deadline on the body alone: one on the connection would end long streams too. A recorder in tests has none.
	controller := http.NewResponseController(writer)
	_ = controller.SetReadDeadline(time.Now().Add(bodyReadTimeout))
	opened := &Body{bounds: bounds, controller: controller, contentLength: request.ContentLength}
	plain, err := decompress(
		http.MaxBytesReader(writer, request.Body, bounds.BodyBytesMax), request.Header.Get("Content-Encoding"))
	if err != nil {
		opened.Close()
		return nil, err
	}
	// One byte more than allowed tells "too large" from "just as large as allowed".
	opened.reader = &io.LimitedReader{R: plain, N: bounds.BodyBytesMax + 1}
	return opened, nil
}

// Read reads on; it fails where the body is larger than it may be, or cannot be read.
func (body *Body) Read(into []byte) (int, error) {
	count, err := body.reader.Read(into)
	switch {
	case body.reader.(*io.LimitedReader).N <= 0:
		return count, tooLarge(body.bounds)
	case err == nil || errors.Is(err, io.EOF):
		return count, err
	}
	return count, readFailure(err, body.bounds)
}

// Drain reads what is left and forgets it: a client that still sends would not read the answer.
func (body *Body) Drain() { _, _ = io.Copy(io.Discard, body) }

// Close ends the reading.
func (body *Body) Close() { _ = body.controller.SetReadDeadline(time.Time{}) }

// contentLengthTrusted is how much room a Content-Length alone gets; the rest is made as the bytes come.
const contentLengthTrusted = 1 << 20

// ReadBody reads a body whole, decompressed where the client compressed it by gzip or deflate.
func ReadBody(writer http.ResponseWriter, request *http.Request, bounds Bounds) ([]byte, error) {
	opened, err := OpenBody(writer, request, bounds)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	return opened.ReadAll()
}

// ReadAll reads all that comes.
func (body *Body) ReadAll() ([]byte, error) {
	var whole bytes.Buffer
	whole.Grow(int(max(0, min(body.contentLength, contentLengthTrusted))) + bytes.MinRead)
	if _, err := whole.ReadFrom(body); err != nil {
		return nil, err
	}
	return whole.Bytes(), nil
}

// ReadNext reads the next length bytes. The memory grows as they come: a client's word alone gets little.
func (body *Body) ReadNext(length int) ([]byte, error) {
	var next bytes.Buffer
	next.Grow(min(length, contentLengthTrusted))
	if _, err := io.CopyN(&next, body, int64(length)); err != nil {
		return nil, err
	}
	return next.Bytes(), nil
}

func decompress(body io.Reader, encoding string) (io.Reader, error) {
	var plain io.Reader
	var err error
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		plain, err = gzip.NewReader(body)
	case "deflate":
		// RFC 9110, 8.4.1.2: "deflate" is the zlib format.
		plain, err = zlib.NewReader(body)
	default:
		return nil, models.Failure{
			HTTP: http.StatusUnsupportedMediaType, GRPC: connect.CodeInvalidArgument, Type: "invalid_request_error",
			Code:    "unsupported_media_type",
			Message: fmt.Sprintf("The encoding %q is not known; gzip and deflate are.", models.Shorten(encoding)),
		}
	}
	if err != nil {
		return nil, models.Invalid("", "The body is not what its Content-Encoding says.")
	}
	return plain, nil
}

func readFailure(err error, bounds Bounds) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return tooLarge(bounds)
	}
	return models.Invalid("", "The body could not be read to its end.")
}

func tooLarge(bounds Bounds) error {
	return models.Failure{
		HTTP: http.StatusRequestEntityTooLarge, GRPC: connect.CodeResourceExhausted, Type: "invalid_request_error",
		Code: "body_too_large", Message: fmt.Sprintf("The body is larger than %d bytes.", bounds.BodyBytesMax),
	}
}

// ReadJSON reads a body as JSON into value, a pointer.
func ReadJSON(writer http.ResponseWriter, request *http.Request, bounds Bounds, value any) error {
	body, err := ReadBody(writer, request, bounds)
	if err != nil {
		return err
	}
	return ParseJSON(body, value)
}

// ParseJSON reads JSON into value, a pointer; a failure names the field and what it must be.
func ParseJSON(body []byte, value any) error {
	if nestsDeeper(body, JSONDepthMax) {
		return models.Invalid("", "The JSON nests deeper than %d levels.", JSONDepthMax)
	}
	err := json.Unmarshal(body, value)
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind):
		return models.Invalid(kind.Field, "%s must not be %s.", orBody(kind.Field), article(kind.Value))
	case errors.As(err, &syntax):
		return models.Invalid("", "The body is not JSON: %s (byte %d).", syntax.Error(), syntax.Offset)
	}
	// Types that read their own JSON say what is wrong themselves.
	var refused *engine.Error
	if errors.As(err, &refused) {
		return refused
	}
	return models.Invalid("", "%s", err.Error())
}

func orBody(field string) string {
	if field == "" {
		return "The body"
	}
	return field
}

// article puts the JSON kind that encoding/json names ("number 1.5", "string") into a sentence.
func article(kind string) string {
	switch strings.Fields(kind + " ")[0] {
	case "array", "object":
		return "an " + kind
	case "bool":
		return "true or false"
	}
	return "a " + kind
}

// nestsDeeper tells whether arrays and objects nest deeper than `depthMax`, without building anything.
func nestsDeeper(body []byte, depthMax int) bool {
	depth, inString, escaped := 0, false, false
	for _, character := range body {
		switch {
		case escaped:
			escaped = false
		case inString:
			inString = character != '"'
			escaped = character == '\\'
		case character == '"':
			inString = true
		case character == '[' || character == '{':
			depth++
			if depth > depthMax {
				return true
			}
		case character == ']' || character == '}':
			depth--
		}
	}
	return false
}

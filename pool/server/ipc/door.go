package ipc

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/door"
	"treeline.dev/pool/engine"
	v1 "treeline.dev/pool/gen/treeline/v1"
	"treeline.dev/pool/gen/treeline/v1/treelinev1connect"
	"treeline.dev/pool/infer"
	"treeline.dev/pool/models"
	"treeline.dev/pool/rpc"
	"treeline.dev/pool/rust"
)

// bodyReadTimeMax bounds how long a client may take to send a body of bytes.
const bodyReadTimeMax = 60 * time.Second

// Door answers `POST /api/v1/ipc/call` (as an http.Handler) and treeline.v1.IpcService.
type Door struct {
	boundary boundary
	bounds   door.Bounds
}

var (
	_ treelinev1connect.IpcServiceHandler = (*Door)(nil)
	_ http.Handler                        = (*Door)(nil)
)

// New is a door to an engine.
func New(to engine.Engine, statistics *rust.Statistics, bounds door.Bounds) *Door {
	return &Door{boundary: boundary{engine: to, statistics: statistics}, bounds: bounds}
}

// Call is the RPC. The answer's data: of echo the same bytes, of sum a little-endian uint64, of embed little-endian
// float32, of stats an EngineStats.
func (ipc *Door) Call(
	ctx context.Context, request *connect.Request[v1.IpcCallRequest],
) (*connect.Response[v1.IpcCallResponse], error) {
	answer, err := ipc.boundary.call(ctx, request.Msg.GetOperation(), request.Msg.GetData(), request.Msg.GetModel())
	if err != nil {
		return nil, rpc.Failed(err)
	}
	response := &v1.IpcCallResponse{
		Operation:   answer.operation,
		Transport:   ipc.boundary.engine.Transport(),
		BytesCopied: answer.reply.BytesCopied,
		ElapsedNs:   uint64(answer.elapsed),
		Data:        answer.data,
	}
	// The message is encoded after this function has returned: the reply must last until then.
	if !answer.lease(ctx) {
		response.Data = append([]byte(nil), answer.data...)
		answer.release()
	}
	if answer.stats != nil {
		if response.Data, err = proto.Marshal(answer.stats); err != nil {
			return nil, rpc.Failed(err)
		}
	}
	return connect.NewResponse(response), nil
}

// call is a request as JSON.
type call struct {
	Operation string `json:"operation"`
	// Data is a text, or {"base64": "…"}.
	Data  json.RawMessage `json:"data"`
	Model string          `json:"model"`
}

type base64Data struct {
	Base64 string `json:"base64"`
}

// decode decodes the data of a call once, into memory that the engine reads where it lies. The caller releases it.
func (ipc *Door) decode(encoded json.RawMessage) (*engine.Buffer, error) {
	if len(encoded) == 0 || string(encoded) == "null" {
		return engine.NewBuffer(nil, nil), nil
	}
	if encoded[0] == '"' {
		return ipc.fill(textBytes(encoded), func(empty []byte) ([]byte, error) { return appendText(empty, encoded), nil })
	}
	var object base64Data
	if json.Unmarshal(encoded, &object) != nil {
		return nil, models.Invalid("data", `The data must be a string, or an object {"base64": "..."}.`)
	}
	length := base64.StdEncoding.DecodedLen(len(object.Base64))
	return ipc.fill(length, func(empty []byte) ([]byte, error) {
		filled, err := base64.StdEncoding.AppendDecode(empty, []byte(object.Base64))
		if err != nil {
			return nil, models.Invalid("data", "The data is not base64.")
		}
		return filled, nil
	})
}

// fill reserves memory for at most length bytes, which write appends to nothing.
func (ipc *Door) fill(length int, write func(empty []byte) ([]byte, error)) (*engine.Buffer, error) {
	reserved, err := ipc.boundary.engine.Reserve(length)
	if err != nil {
		return nil, err
	}
	filled, err := write(reserved.Bytes[:0])
	if err != nil {
		reserved.Release()
		return nil, err
	}
	return engine.NewBuffer(filled, reserved.Release), nil
}

// data are bytes in JSON: a string where they are a text, or an object with their base64.
type data []byte

// MarshalJSON writes the form that decode reads.
func (bytes data) MarshalJSON() ([]byte, error) {
	if utf8.Valid(bytes) {
		return json.Marshal(string(bytes))
	}
	return json.Marshal(base64Data{base64.StdEncoding.EncodeToString(bytes)})
}

// answered is an answer as JSON.
type answered struct {
	Operation   string `json:"operation"`
	Data        *data  `json:"data,omitempty"`
	Result      any    `json:"result,omitempty"`
	Transport   string `json:"transport"`
	BytesCopied uint64 `json:"bytes_copied"`
	ElapsedNs   int64  `json:"elapsed_ns"`
}

// embedding is the result of embed.
type embedding struct {
	Model      string    `json:"model"`
	Dimensions uint32    `json:"dimensions"`
	Tokens     []uint32  `json:"tokens"`
	Vector     []float32 `json:"vector"`
}

// ServeHTTP answers JSON with JSON; or, where the body is application/octet-stream and the query has the rest, reads the
// body straight into memory that it shares with the engine, and answers echo with bytes.
func (ipc *Door) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	kind, _, _ := mime.ParseMediaType(request.Header.Get("Content-Type"))
	serve := ipc.serveJSON
	if kind == "application/octet-stream" {
		serve = ipc.serveBytes
	}
	if err := serve(writer, request); err != nil {
		infer.WriteProblem(writer, request, err)
	}
}

func (ipc *Door) serveJSON(writer http.ResponseWriter, request *http.Request) error {
	var read call
	if err := door.ReadJSON(writer, request, ipc.bounds, &read); err != nil {
		return err
	}
	decoded, err := ipc.decode(read.Data)
	if err != nil {
		return err
	}
	defer decoded.Release()
	answer, err := ipc.boundary.call(request.Context(), read.Operation, decoded.Bytes, read.Model)
	if err != nil {
		return err
	}
	defer answer.release()
	ipc.writeJSON(writer, answer)
	return nil
}

func (ipc *Door) serveBytes(writer http.ResponseWriter, request *http.Request) error {
	buffer, err := ipc.readReserved(writer, request)
	if err != nil {
		return err
	}
	defer buffer.Release()
	query := request.URL.Query()
	answer, err := ipc.boundary.call(request.Context(), query.Get("operation"), buffer.Bytes, query.Get("model"))
	if err != nil {
		return err
	}
	defer answer.release()
	// Under the lease the client's time to read is bounded.
	answer.lease(request.Context())
	if answer.operation != "echo" {
		ipc.writeJSON(writer, answer)
		return nil
	}
	header := writer.Header()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Content-Length", strconv.Itoa(len(answer.data)))
	header.Set("Treeline-Transport", ipc.boundary.engine.Transport())
	header.Set("Treeline-Bytes-Copied", strconv.FormatUint(answer.reply.BytesCopied, 10))
	header.Set("Treeline-Elapsed-Ns", strconv.FormatInt(int64(answer.elapsed), 10))
	// A client that has gone is the only way in which this fails.
	_ = door.WriteLeased(writer, request, answer.data)
	return nil
}

// readReserved reads a body of known length into memory that the engine reads where it lies.
func (ipc *Door) readReserved(writer http.ResponseWriter, request *http.Request) (*engine.Buffer, error) {
	length := request.ContentLength
	switch {
	case length < 0:
		return nil, models.Failure{
			HTTP: http.StatusLengthRequired, GRPC: connect.CodeInvalidArgument, Type: "invalid_request_error",
			Code: "length_required", Message: "A body of bytes needs a Content-Length.",
		}
	case length > ipc.bounds.BodyBytesMax:
		return nil, models.Failure{
			HTTP: http.StatusRequestEntityTooLarge, GRPC: connect.CodeResourceExhausted, Type: "invalid_request_error",
			Code: "body_too_large", Message: "The body is larger than this server takes.",
		}
	}
	buffer, err := ipc.boundary.engine.Reserve(int(length))
	if err != nil {
		return nil, err
	}
	// Recorders of tests have no deadline.
	controller := http.NewResponseController(writer)
	_ = controller.SetReadDeadline(time.Now().Add(bodyReadTimeMax))
	defer func() { _ = controller.SetReadDeadline(time.Time{}) }()
	if _, err := io.ReadFull(http.MaxBytesReader(writer, request.Body, length), buffer.Bytes); err != nil {
		buffer.Release()
		return nil, models.Invalid("", "The body could not be read to its end.")
	}
	return buffer, nil
}

func (ipc *Door) writeJSON(writer http.ResponseWriter, answer *answer) {
	made := answered{
		Operation: answer.operation, Transport: ipc.boundary.engine.Transport(),
		BytesCopied: answer.reply.BytesCopied, ElapsedNs: int64(answer.elapsed),
	}
	switch answer.operation {
	case "echo":
		echoed := data(answer.data)
		made.Data = &echoed
	case "sum":
		made.Result = answer.sum()
	case "embed":
		made.Result = embeddingOf(answer)
	case "stats":
		encoded, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(answer.stats)
		if err == nil {
			made.Result = json.RawMessage(encoded)
		}
	}
	door.WriteJSON(writer, http.StatusOK, made)
}

func embeddingOf(answer *answer) embedding {
	vector := make([]float32, len(answer.data)/4)
	for index := range vector {
		vector[index] = math.Float32frombits(binary.LittleEndian.Uint32(answer.data[4*index:]))
	}
	embedded := answer.embedded
	return embedding{embedded.GetModel(), embedded.GetDimensions(), embedded.GetTokenCounts(), vector}
}

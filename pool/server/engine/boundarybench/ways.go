//go:build ffi

package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/ffi"
	"treeline.dev/pool/engine/grpc"
	"treeline.dev/pool/engine/shm"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
	v1 "treeline.dev/pool/gen/treeline/v1"
)

const (
	wayLibrary       = "ffi"
	waySharedInPlace = "shm, written in place"
	waySharedCopied  = "shm, copied in"
	wayGRPC          = "grpc"
	wayUnixSocket    = "Unix socket"
)

// way is one way to have a sum made, or bytes back.
type way struct {
	name string
	// reserve gives memory for the data of one caller.
	reserve func(size int) (*engine.Buffer, error)
	// connect gives a caller what makes its calls; the result is how many bytes were copied.
	connect func() (caller, error)
	// processes are those whose CPU time counts, besides this one.
	processes []int
}

// caller makes one call after the other.
type caller interface {
	call(operation enginev1.Operation, data []byte) (bytesCopied uint64, err error)
	close()
}

// throughEngine is a caller of an engine. What describes its call is the caller's own, and used again.
type throughEngine struct {
	engine  engine.Engine
	made    engine.Call
	payload [1][]byte
	// header is that of INFER, for a tensor of headerBytes bytes.
	header      []byte
	headerBytes int
}

func (through *throughEngine) call(operation enginev1.Operation, data []byte) (uint64, error) {
	through.payload[0] = data
	through.made.Operation, through.made.Payload, through.made.Header = operation, through.payload[:], nil
	if operation == enginev1.Operation_OPERATION_INFER {
		if through.header == nil || through.headerBytes != len(data) {
			if err := through.describe(len(data)); err != nil {
				return 0, err
			}
		}
		through.made.Header = through.header
	}
	reply, err := through.engine.Call(context.Background(), &through.made)
	if err != nil {
		return 0, err
	}
	copied := reply.BytesCopied
	if len(reply.Payload) != 1 {
		err = errors.New("the answer has no payload")
	}
	reply.Release()
	return copied, err
}

// describe writes the header of INFER for a tensor of that many bytes.
func (through *throughEngine) describe(bytes int) (err error) {
	tensor := &v1.Tensor{Name: "x", Datatype: "UINT8", Shape: []int64{int64(bytes)}}
	through.header, err = proto.Marshal(&v1.InferRequest{Model: identityModel, Inputs: []*v1.Tensor{tensor}})
	through.headerBytes = bytes
	return err
}

func (*throughEngine) close() {}

func onHeap(size int) (*engine.Buffer, error) { return engine.NewBuffer(make([]byte, size), nil), nil }

func engineWay(name string, to engine.Engine, reserve func(int) (*engine.Buffer, error), processes ...int) way {
	connect := func() (caller, error) { return &throughEngine{engine: to}, nil }
	return way{name: name, reserve: reserve, connect: connect, processes: processes}
}

// openWays opens all of them; the first is the library.
func openWays(ctx context.Context, program string) (ways []way, closeAll func(), err error) {
	var closers []func()
	closeAll = func() {
		for _, closer := range closers {
			closer()
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	repository, err := os.MkdirTemp("", "boundarybench")
	if err != nil {
		return nil, closeAll, err
	}
	closers = append(closers, func() { _ = os.RemoveAll(repository) })
	if err := addIdentityModel(repository); err != nil {
		return nil, closeAll, err
	}
	settings := engine.Settings{Repository: repository, Threads: 1}

	library, err := ffi.Open(ffi.Options{Settings: settings})
	if err != nil {
		return nil, closeAll, err
	}
	closers = append(closers, func() { _ = library.Close(ctx) })
	shared, err := shm.Open(shm.Options{Program: program, Settings: settings})
	if err != nil {
		return nil, closeAll, err
	}
	closers = append(closers, func() { _ = shared.Close(ctx) })
	listening, address, err := listen(program, settings)
	if err != nil {
		return nil, closeAll, err
	}
	closers = append(closers, func() { _ = listening.Process.Kill(); _ = listening.Wait() })
	remote, err := grpc.Open(ctx, grpc.Options{Address: "http://" + address})
	if err != nil {
		return nil, closeAll, err
	}
	socket, closeSocket, err := openSocket(repository)
	if err != nil {
		return nil, closeAll, err
	}
	closers = append(closers, closeSocket)
	return []way{
		engineWay(wayLibrary, library, library.Reserve),
		engineWay(waySharedInPlace, shared, shared.Reserve, shared.Processes()...),
		engineWay(waySharedCopied, shared, onHeap, shared.Processes()...),
		engineWay(wayGRPC, remote, remote.Reserve, listening.Process.Pid),
		socket,
	}, closeAll, nil
}

// identityModel answers with its input.
const identityModel = "identity"

func addIdentityModel(repository string) error {
	folder := filepath.Join(repository, identityModel)
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "model.json"), []byte(`{"backend": "identity"}`), 0o644)
}

// listen starts the engine for gRPC.
func listen(program string, settings engine.Settings) (*exec.Cmd, string, error) {
	command := exec.Command(program, "--listen", "127.0.0.1:0", "--config", settings.JSON())
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := command.Start(); err != nil {
		return nil, "", err
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	address, found := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !found {
		_ = command.Process.Kill()
		_ = command.Wait()
		return nil, "", errors.New(filepath.Base(program) + " does not listen")
	}
	go func() { _, _ = io.Copy(io.Discard, output) }()
	return command, address, nil
}

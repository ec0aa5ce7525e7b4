//go:build ffi

package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"treeline.dev/pool/engine"
	"treeline.dev/pool/engine/ffi"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

// The plain way: a length and an operation in 16 bytes, the data, and the same back. The process behind the socket sums
// with the engine's own code, so that only the way differs.
const frameBytes = 16

// socketBufferBytes is what each end of a connection may hold in the kernel, as far as the system allows it: a megabyte
// goes through in few turns.
const socketBufferBytes = 4 << 20

// socketTimeMax is how long a connection may be used: a peer that has ended or hangs does not hold the benchmark up.
const socketTimeMax = 10 * time.Minute

// openSocket starts the process behind the socket, whose engine has the folder repository.
func openSocket(repository string) (way, func(), error) {
	folder, err := os.MkdirTemp("", "boundarybench")
	if err != nil {
		return way{}, nil, err
	}
	path := filepath.Join(folder, "socket")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return way{}, nil, err
	}
	file, err := listener.File()
	if err != nil {
		return way{}, nil, err
	}
	command := exec.Command(os.Args[0], "--peer", repository)
	command.ExtraFiles = []*os.File{file}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		return way{}, nil, err
	}
	closeAll := func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = listener.Close()
		_ = os.RemoveAll(folder)
	}
	connect := func() (caller, error) {
		connection, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return nil, err
		}
		if err := widen(connection); err != nil {
			_ = connection.Close()
			return nil, err
		}
		return &socketCaller{connection: connection}, connection.SetDeadline(time.Now().Add(socketTimeMax))
	}
	return way{wayUnixSocket, onHeap, connect, []int{command.Process.Pid}}, closeAll, nil
}

// socketCaller is one connection.
type socketCaller struct {
	connection *net.UnixConn
	reply      []byte
	frame      [frameBytes]byte
}

func (socket *socketCaller) call(operation enginev1.Operation, data []byte) (uint64, error) {
	answer, err := socket.exchange(operation, data)
	if err != nil {
		return 0, err
	}
	// Each byte is copied into the kernel by one process and out of it by the other.
	return 2 * uint64(len(data)+answer), nil
}

// exchange writes a frame and reads the answer; the other side begins to answer once it has read all.
func (socket *socketCaller) exchange(operation enginev1.Operation, data []byte) (int, error) {
	binary.LittleEndian.PutUint64(socket.frame[:], uint64(operation))
	binary.LittleEndian.PutUint64(socket.frame[8:], uint64(len(data)))
	parts := net.Buffers{socket.frame[:], data}
	if _, err := parts.WriteTo(socket.connection); err != nil {
		return 0, err
	}
	return readFrame(socket.connection, socket.frame[:], &socket.reply, nil)
}

func (socket *socketCaller) close() { _ = socket.connection.Close() }

// readFrame reads a frame's data into buffer, which grows, and gives its length.
func readFrame(from io.Reader, frame []byte, buffer *[]byte, operation *uint64) (int, error) {
	if _, err := io.ReadFull(from, frame); err != nil {
		return 0, err
	}
	if operation != nil {
		*operation = binary.LittleEndian.Uint64(frame)
	}
	length := binary.LittleEndian.Uint64(frame[8:])
	if length > engine.PayloadBytesMax {
		return 0, errors.New("a frame is too long")
	}
	if uint64(cap(*buffer)) < length {
		*buffer = make([]byte, length)
	}
	*buffer = (*buffer)[:length]
	_, err := io.ReadFull(from, *buffer)
	return int(length), err
}

// widen gives a connection the large buffers.
func widen(connection *net.UnixConn) error {
	return errors.Join(connection.SetReadBuffer(socketBufferBytes), connection.SetWriteBuffer(socketBufferBytes))
}

// runPeer answers connections until it is killed.
func runPeer(repository string) error {
	listener, err := net.FileListener(os.NewFile(3, "socket"))
	if err != nil {
		return err
	}
	library, err := ffi.Open(ffi.Options{Settings: engine.Settings{Repository: repository, Threads: 1}})
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		if err := widen(connection.(*net.UnixConn)); err != nil {
			return err
		}
		go answer(connection, throughPeer{library})
	}
}

type throughPeer struct{ library engine.Engine }

func answer(connection net.Conn, peer throughPeer) {
	defer connection.Close()
	var frame [frameBytes]byte
	var data []byte
	var operation uint64
	for {
		if _, err := readFrame(connection, frame[:], &data, &operation); err != nil {
			return
		}
		result := data
		if enginev1.Operation(operation) == enginev1.Operation_OPERATION_SUM {
			result = peer.sum(data)
		}
		binary.LittleEndian.PutUint64(frame[8:], uint64(len(result)))
		parts := net.Buffers{frame[:], result}
		if _, err := parts.WriteTo(connection); err != nil {
			return
		}
	}
}

package shm

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"treeline.dev/pool/engine"
	enginev1 "treeline.dev/pool/gen/treeline/engine/v1"
)

const (
	// startTimeMax is how long a worker may take until it says that it is ready. Models are loaded after that.
	startTimeMax = 30 * time.Second
	// endTimeMax is how long a worker may take to end by itself once its socket is closed.
	endTimeMax = 2 * time.Second
	// announceBytesMax bounds the line in which a worker says that it is ready, or why not.
	announceBytesMax = 4096
)

// worker is one process, from its start to its end. Another one takes its place then.
type worker struct {
	requests *requests
	control  *memory
	replies  *memory
	// users of the memory: the process, the reader, calls, and replies that were not released yet.
	users atomic.Int64
	// wake is the eventfd that the worker writes when the reader sleeps.
	wake   *os.File
	socket *net.UnixConn
	line   *bufio.Reader
	// process is the running program.
	process *exec.Cmd

	table *table
	// sending guards the writing end of the call queue, and releasing that of the release queue.
	sending   sync.Mutex
	calls     *queue[callSlot]
	sleepers  *atomic.Uint32
	releasing sync.Mutex
	releases  *queue[uint64]
	backlog   []uint64
	replied   incoming
	// models are those that it has ready; nil: not known.
	models atomic.Pointer[map[string]struct{}]
	// readerEnded is closed once no reply is taken any more.
	readerEnded chan struct{}
	// ended is closed once the process is gone and all its calls have failed.
	ended chan struct{}
}

// startWorker starts a process and waits until it says that it is ready. It must run on a thread that lives as long as
// the worker shall: the system ends the process with that thread.
func startWorker(options Options, requests *requests) (*worker, error) {
	made := &worker{
		requests: requests, table: newTable(), readerEnded: make(chan struct{}), ended: make(chan struct{}),
	}
	made.users.Store(1)
	if err := made.makeMemory(options); err != nil {
		made.dropMemory()
		return nil, err
	}
	if err := made.startProcess(options); err != nil {
		made.dropMemory()
		return nil, err
	}
	return made, nil
}

func (worker *worker) makeMemory(options Options) (err error) {
	if worker.control, err = newMemory("treeline-control", controlBytes, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return err
	}
	if worker.replies, err = newMemory("treeline-replies", options.ReplyBytes, unix.PROT_READ); err != nil {
		return err
	}
	worker.writeHeader(options.Contract)
	control := worker.control
	worker.calls = newQueue[callSlot](control, atCallsTail, atCallsHead, atQueues, callSlots)
	worker.releases = newQueue[uint64](control, atReleasesTail, atReleasesHead,
		atQueues+callSlots*256+replySlots*256, releaseSlots)
	worker.sleepers = control.word(atCallsSleepers)
	worker.replied = newIncoming(control)
	return nil
}

func (worker *worker) writeHeader(contract engine.Contract) {
	control := worker.control
	control.putUint64(atMagic, magic)
	control.putUint32(atABIVersion, contract.ABIVersion)
	control.putUint32(atCallSlots, callSlots)
	control.putUint32(atReplySlots, replySlots)
	control.putUint32(atReleaseSlots, releaseSlots)
	copy(control.bytes[atContractHash:atContractHash+contractHashBytes], contract.Hash)
	control.putUint64(atRequestBytes, uint64(len(worker.requests.memory.bytes)))
	control.putUint64(atReplyBytes, uint64(len(worker.replies.bytes)))
}

func (worker *worker) startProcess(options Options) error {
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("shm: no eventfd: %w", err)
	}
	passedOn := os.NewFile(uintptr(wake), "eventfd")
	defer passedOn.Close()
	command := exec.Command(options.Program, "--shared-memory", "--config", options.Settings.JSON())
	// In this order they become descriptors 3 to 7.
	command.ExtraFiles = []*os.File{theirs, worker.control.file, worker.requests.shared, worker.replies.file, passedOn}
	command.Stdout, command.Stderr = options.Stderr, options.Stderr
	// A process group of its own: Ctrl-C in a terminal reaches the server alone, which drains first.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		_ = ours.Close()
		return fmt.Errorf("shm: the engine %s does not start: %w", options.Program, err)
	}
	worker.process = command
	worker.socket, worker.line = ours, bufio.NewReaderSize(ours, announceBytesMax)
	// Only now: passing a file on makes it a blocking one, and the reader must wait without a thread.
	if wake, err = unix.FcntlInt(passedOn.Fd(), unix.F_DUPFD_CLOEXEC, 0); err == nil {
		err = unix.SetNonblock(wake, true)
		worker.wake = os.NewFile(uintptr(wake), "eventfd")
	}
	if err != nil {
		worker.kill()
		_ = command.Wait()
		return fmt.Errorf("shm: no eventfd: %w", err)
	}
	return nil
}

// socketPair makes two connected sockets, ours and the worker's.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("shm: no socket: %w", err)
	}
	file, theirs := os.NewFile(uintptr(pair[0]), "worker"), os.NewFile(uintptr(pair[1]), "server")
	defer file.Close()
	connection, err := net.FileConn(file)
	if err != nil {
		_ = theirs.Close()
		return nil, nil, fmt.Errorf("shm: no socket: %w", err)
	}
	return connection.(*net.UnixConn), theirs, nil
}

// greet waits until the worker is ready, begins to read its replies, and checks its version. Where that fails the process
// is ended.
func (worker *worker) greet(contract engine.Contract) error {
	err := worker.awaitReady()
	if err == nil {
		worker.users.Add(1)
		go worker.read()
	} else {
		close(worker.readerEnded)
	}
	go worker.watch()
	if err == nil {
		err = worker.checkVersion(contract)
	}
	if err != nil {
		worker.kill()
		<-worker.ended
	}
	return err
}

func (worker *worker) awaitReady() error {
	_ = worker.socket.SetReadDeadline(time.Now().Add(startTimeMax))
	line, err := worker.line.ReadString('\n')
	_ = worker.socket.SetReadDeadline(time.Time{})
	switch line = strings.TrimSpace(line); {
	case line == "ready":
		return nil
	case err == nil && strings.Contains(line, "ABI version"):
		return &engine.Error{Status: enginev1.Status_STATUS_VERSION_MISMATCH, Message: line}
	case err == nil:
		return &engine.Error{Status: enginev1.Status_STATUS_UNAVAILABLE, Message: line}
	default:
		return &engine.Error{
			Status:  enginev1.Status_STATUS_UNAVAILABLE,
			Message: "The engine's process ended before it was ready, or took longer than 30 seconds.",
		}
	}
}

func (worker *worker) checkVersion(contract engine.Contract) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeMax)
	defer cancel()
	sent, err := worker.requests.prepare(ctx, &engine.Call{Operation: enginev1.Operation_OPERATION_HELLO})
	if err != nil {
		return err
	}
	reply, err := worker.call(ctx, sent, time.Now())
	if err != nil {
		return err
	}
	defer reply.Release()
	return contract.Check(reply.Header)
}

// watch waits for the end of the process, of which its socket tells at once.
func (worker *worker) watch() {
	_, _ = io.Copy(io.Discard, worker.line)
	ended := make(chan struct{})
	go func() {
		_ = worker.process.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(endTimeMax):
		worker.kill()
		<-ended
	}
	// Replies that were sent before the end are good.
	_ = worker.wake.SetReadDeadline(time.Now())
	<-worker.readerEnded
	worker.failAll()
	_ = worker.socket.Close()
	close(worker.ended)
	worker.leave()
}

func (worker *worker) kill() { _ = worker.process.Process.Kill() }

// close tells the worker that no call is waited for any more; it ends then.
func (worker *worker) close() { _ = worker.socket.CloseWrite() }

// leave takes one user of the memory away.
func (worker *worker) leave() {
	if worker.users.Add(-1) == 0 {
		worker.dropMemory()
	}
}

func (worker *worker) dropMemory() {
	if worker.control != nil {
		worker.control.close()
	}
	if worker.replies != nil {
		worker.replies.close()
	}
	if worker.wake != nil {
		_ = worker.wake.Close()
	}
}

// failAll ends the calls that still run.
func (worker *worker) failAll() {
	table := worker.table
	table.mutex.Lock()
	defer table.mutex.Unlock()
	table.dead = true
	for _, entry := range table.calls {
		if entry != nil {
			entry.ended, entry.crashed = true, true
			table.remove(entry)
			entry.notify()
		}
	}
}

func (worker *worker) deliver(slot *replySlot) {
	table := worker.table
	table.mutex.Lock()
	entry := table.find(slot.call)
	if entry == nil {
		// Nobody asked for it: late, or made up. What it holds is given back.
		table.mutex.Unlock()
		worker.giveBack(slot)
		return
	}
	last := slot.flags&replyLast != 0 || !entry.stream
	keep := !entry.abandoned && len(entry.replies) < pendingRepliesMax
	overrun := !keep && !entry.abandoned && !last
	switch {
	case keep:
		entry.replies = append(entry.replies, *slot)
	case overrun:
		entry.overrun, entry.abandoned = true, true
	}
	if last {
		entry.ended = true
		if !keep || entry.stream {
			table.remove(entry)
		} else {
			// ECHO answers with the call's own memory: the reply holds it from here on.
			table.forget(entry)
		}
	}
	entry.notify()
	table.mutex.Unlock()
	if overrun {
		worker.cancel(slot.call)
	}
	if !keep {
		worker.giveBack(slot)
	}
}

// call sends a call and waits for its one reply.
func (worker *worker) call(ctx context.Context, sent *prepared, start time.Time) (*engine.Reply, error) {
	entry, err := worker.send(ctx, sent, false)
	if err != nil {
		return nil, err
	}
	defer worker.leave()
	sentAt := time.Now()
	worker.watchFor(entry)
	select {
	case <-entry.wake:
	case <-ctx.Done():
		if worker.abandon(entry) {
			return nil, engine.OfContext(ctx.Err())
		}
	}
	if entry.crashed {
		return nil, errCrashed
	}
	worker.replied.patience.learn(time.Since(sentAt))
	return worker.open(&entry.replies[0], sent, start)
}

// errCrashed is the failure of a call whose worker has ended.
var errCrashed = engine.Refused(enginev1.Status_STATUS_ENGINE_CRASHED)

// errStreamOverrun is the failure of a stream whose reader was too slow.
var errStreamOverrun = &engine.Error{
	Status:  enginev1.Status_STATUS_CANCELLED,
	Message: "The text was not read as fast as it came.",
}

// stream sends a call and gives each reply to receive until the last one.
func (worker *worker) stream(
	ctx context.Context, sent *prepared, start time.Time, receive func(*engine.Reply) error,
) error {
	entry, err := worker.send(ctx, sent, true)
	if err != nil {
		return err
	}
	defer worker.leave()
	for {
		select {
		case <-entry.wake:
		case <-ctx.Done():
			worker.abandon(entry)
			return engine.OfContext(ctx.Err())
		}
		replies, ended := worker.takeReplies(entry)
		for index := range replies {
			if err := worker.handOn(&replies[index], start, receive); err != nil {
				for rest := range replies[index+1:] {
					worker.giveBack(&replies[index+1+rest])
				}
				worker.abandon(entry)
				return err
			}
		}
		switch {
		case entry.overrun:
			return errStreamOverrun
		case ended && entry.crashed:
			return errCrashed
		case ended:
			return nil
		}
	}
}

func (worker *worker) takeReplies(entry *waiting) ([]replySlot, bool) {
	worker.table.mutex.Lock()
	defer worker.table.mutex.Unlock()
	replies := entry.replies
	entry.replies = nil
	return replies, entry.ended || entry.overrun
}

// handOn gives one reply of a stream to receive. The end without an error carries no message.
func (worker *worker) handOn(slot *replySlot, start time.Time, receive func(*engine.Reply) error) error {
	if slot.flags&replyLast != 0 && slot.status == 0 && slot.headerLength == 0 {
		return nil
	}
	reply, err := worker.open(slot, nil, start)
	if err != nil {
		return err
	}
	defer reply.Release()
	return receive(reply)
}

// send puts a call into the queue. The call's hold on its blocks passes to the worker's table, in every case. Where it
// succeeds the caller is a user of the worker's memory and must leave.
func (worker *worker) send(ctx context.Context, sent *prepared, stream bool) (*waiting, error) {
	entry := &waiting{sent: sent, stream: stream, wake: make(chan struct{}, 1)}
	if err := worker.register(ctx, entry); err != nil {
		sent.release()
		return nil, err
	}
	sent.slot.call = entry.call
	if !worker.push(&sent.slot) {
		worker.table.mutex.Lock()
		if !entry.crashed {
			worker.table.remove(entry)
		}
		worker.table.mutex.Unlock()
		worker.leave()
		return nil, engine.Refused(enginev1.Status_STATUS_OVERLOADED)
	}
	return entry, nil
}

// register waits a little until the worker may have one more call.
func (worker *worker) register(ctx context.Context, entry *waiting) error {
	for deadline := time.Now().Add(roomWaitMax); ; {
		ok, dead := worker.table.add(entry, &worker.users)
		switch {
		case ok:
			return nil
		case dead:
			return errCrashed
		case ctx.Err() != nil:
			return engine.OfContext(ctx.Err())
		case time.Now().After(deadline):
			return engine.Refused(enginev1.Status_STATUS_OVERLOADED)
		}
		time.Sleep(roomLookInterval)
	}
}

// push appends to the call queue and wakes the worker where it sleeps; false where there is no room.
func (worker *worker) push(slot *callSlot) bool {
	worker.sending.Lock()
	pushed, err := worker.calls.push(slot)
	worker.sending.Unlock()
	if err != nil {
		worker.kill()
	}
	if !pushed {
		return false
	}
	if worker.sleepers.Load() != 0 {
		wake(worker.calls.tail, 1)
	}
	return true
}

// cancel tells the worker that nobody waits for a call any more.
func (worker *worker) cancel(call uint64) {
	// The queue has room: calls take half of it at most, and each is cancelled once.
	worker.push(&callSlot{call: call, operation: operationCancel})
}

// abandon gives a call up; false where it has ended in the meantime. Its memory stays in use until the worker answers.
func (worker *worker) abandon(entry *waiting) bool {
	table := worker.table
	table.mutex.Lock()
	if entry.abandoned || (entry.ended && !entry.stream) {
		table.mutex.Unlock()
		return entry.abandoned
	}
	ended := entry.ended
	entry.abandoned = true
	replies := entry.replies
	entry.replies = nil
	table.mutex.Unlock()
	for index := range replies {
		worker.giveBack(&replies[index])
	}
	if !ended {
		worker.cancel(entry.call)
	}
	return true
}

// forget removes a call whose blocks the reply goes on holding. The caller holds the mutex.
func (table *table) forget(entry *waiting) {
	index := uint32(entry.call)
	table.calls[index] = nil
	table.free = append(table.free, index)
	table.running--
}

// open makes a reply of a slot. sent is the call where it has one reply; the reply holds it until its release, or not at
// all where the payload does not lie there.
func (worker *worker) open(slot *replySlot, sent *prepared, start time.Time) (*engine.Reply, error) {
	header, payload, err := worker.locate(slot)
	if err == nil && slot.status != 0 {
		err = engine.Failed(enginev1.Status(slot.status), header)
	}
	copied := slot.bytesCopied
	if sent != nil {
		copied += sent.bytesCopied
		if err == nil && slot.flags&replyEcho != 0 {
			return engine.NewReply(nil, sent.payload, copied, time.Since(start), sent.release), nil
		}
		sent.release()
	}
	if err != nil {
		worker.giveBack(slot)
		return nil, err
	}
	if slot.flags&replyWord != 0 {
		word := slot.word
		return engine.NewReply(nil, [][]byte{word[:]}, copied, time.Since(start), nil), nil
	}
	kept := *slot
	worker.users.Add(1)
	release := func() {
		worker.giveBack(&kept)
		worker.leave()
	}
	return engine.NewReply(header, payload, copied, time.Since(start), release), nil
}

// errOutside means that a worker named memory that is none.
var errOutside = &engine.Error{
	Status:  enginev1.Status_STATUS_INTERNAL,
	Message: "The engine's reply lies outside the shared memory.",
}

// locate finds the header and the segments of a reply, where they lie.
func (worker *worker) locate(slot *replySlot) (header []byte, payload [][]byte, err error) {
	header, ok := worker.replies.slice(piece{slot.headerOffset, uint64(slot.headerLength)})
	if !ok || slot.segmentCount > engine.SegmentsMax {
		return nil, nil, errOutside
	}
	pieces, ok := worker.pieces(slot)
	if !ok {
		return nil, nil, errOutside
	}
	if len(pieces) > 0 {
		payload = make([][]byte, len(pieces))
	}
	for index, piece := range pieces {
		if payload[index], ok = worker.replies.slice(piece); !ok {
			return nil, nil, errOutside
		}
	}
	return header, payload, nil
}

// pieces are the segments of a reply: in the slot, or copied out of a table in the arena.
func (worker *worker) pieces(slot *replySlot) ([]piece, bool) {
	if slot.segmentCount <= replyPieces {
		return slot.pieces[:slot.segmentCount], true
	}
	if slot.segmentCount > engine.SegmentsMax {
		return nil, false
	}
	table, ok := worker.replies.slice(piece{slot.tableOffset, uint64(slot.segmentCount) * pieceBytes})
	if !ok || slot.tableOffset%8 != 0 {
		return nil, false
	}
	pieces := make([]piece, slot.segmentCount)
	copy(pieces, unsafe.Slice((*piece)(unsafe.Pointer(&table[0])), slot.segmentCount))
	return pieces, true
}

// giveBack releases what a reply holds. The worker takes no release of what it has not handed over.
func (worker *worker) giveBack(slot *replySlot) {
	worker.releasing.Lock()
	defer worker.releasing.Unlock()
	if slot.headerLength > 0 {
		worker.backlog = append(worker.backlog, slot.headerOffset)
	}
	pieces, _ := worker.pieces(slot)
	for _, piece := range pieces {
		if piece.length > 0 {
			worker.backlog = append(worker.backlog, piece.offset)
		}
	}
	if slot.segmentCount > replyPieces {
		worker.backlog = append(worker.backlog, slot.tableOffset)
	}
	worker.flushReleases()
}

func (worker *worker) flushReleases() {
	sent := 0
	for sent < len(worker.backlog) {
		// Full: the next release, or the next one after that, finds room again. A spoiled queue is met by the reader.
		if pushed, err := worker.releases.push(&worker.backlog[sent]); err != nil || !pushed {
			break
		}
		sent++
	}
	if sent == 0 {
		return
	}
	worker.backlog = append(worker.backlog[:0], worker.backlog[sent:]...)
	if worker.control.word(atReleasesSleepers).Load() != 0 {
		wake(worker.releases.tail, wakeAll)
	}
}

package shm

import "unsafe"

// Where everything lies in the control memory: the same numbers as in pool/engine/ring/src/layout.rs. Little-endian.
const (
	magic = 0x474e495245455254 // "TREERING"

	atMagic            = 0
	atABIVersion       = 8
	atCallSlots        = 12
	atReplySlots       = 16
	atReleaseSlots     = 20
	atContractHash     = 24
	atRequestBytes     = 40
	atReplyBytes       = 48
	atCallsTail        = 128
	atCallsHead        = 192
	atCallsSleepers    = 256
	atRepliesTail      = 320
	atRepliesHead      = 384
	atRepliesSleepers  = 448
	atRepliesBlocked   = 512
	atReleasesTail     = 576
	atReleasesHead     = 640
	atReleasesSleepers = 704
	atQueues           = 4096

	contractHashBytes = 16
)

const (
	// callSlots bounds the calls and cancellations on their way to a worker.
	callSlots = 4096
	// runningMax bounds the calls of one worker: each may need a second slot, for its cancellation.
	runningMax = callSlots / 2
	// replySlots bounds the replies on their way back.
	replySlots = 4096
	// releaseSlots bounds what is given back to a worker at once; more waits on this side.
	releaseSlots = 16384

	// operationCancel marks a slot that cancels the call of its number.
	operationCancel = 0xffff0001

	replyLast = 1
	replyEcho = 2
	replyWord = 4

	callPieces  = 11
	replyPieces = 12
	pieceBytes  = 16
)

// piece is a part of an arena.
type piece struct{ offset, length uint64 }

// callSlot is a call on its way to the worker.
type callSlot struct {
	call         uint64
	operation    uint32
	priority     uint32
	deadlineNs   uint64
	headerOffset uint64
	headerLength uint32
	segmentCount uint32
	tableOffset  uint64
	traceID      [16]byte
	spanID       [8]byte
	traceFlags   byte
	_            [7]byte
	pieces       [callPieces]piece
}

// replySlot is a reply on its way back.
type replySlot struct {
	call         uint64
	status       uint32
	flags        uint32
	headerOffset uint64
	headerLength uint32
	segmentCount uint32
	bytesCopied  uint64
	tableOffset  uint64
	word         [8]byte
	_            [8]byte
	pieces       [replyPieces]piece
}

// The compiler refuses these where a structure is not as long as the layout says.
var (
	_ [256 - unsafe.Sizeof(callSlot{})]struct{}
	_ [unsafe.Sizeof(callSlot{}) - 256]struct{}
	_ [256 - unsafe.Sizeof(replySlot{})]struct{}
	_ [unsafe.Sizeof(replySlot{}) - 256]struct{}
	_ [80 - unsafe.Offsetof(callSlot{}.pieces)]struct{}
	_ [unsafe.Offsetof(callSlot{}.pieces) - 80]struct{}
	_ [64 - unsafe.Offsetof(replySlot{}.pieces)]struct{}
	_ [unsafe.Offsetof(replySlot{}.pieces) - 64]struct{}
)

// controlBytes is the length of a control memory.
const controlBytes = atQueues + callSlots*256 + replySlots*256 + releaseSlots*8

package shm

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory is a memfd, mapped here. It cannot grow or shrink: reading beyond the end of a file kills a process.
type memory struct {
	file  *os.File
	bytes []byte
}

// newMemory makes memory of that many bytes (of zeros), mapped with protection (unix.PROT_…).
func newMemory(name string, size int, protection int) (*memory, error) {
	descriptor, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("shm: no shared memory: %w", err)
	}
	made := &memory{file: os.NewFile(uintptr(descriptor), name)}
	if err := made.prepare(descriptor, size, protection); err != nil {
		made.close()
		return nil, fmt.Errorf("shm: shared memory of %d bytes: %w", size, err)
	}
	return made, nil
}

func (memory *memory) prepare(descriptor, size, protection int) error {
	if err := unix.Ftruncate(descriptor, int64(size)); err != nil {
		return err
	}
	seals := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(descriptor), unix.F_ADD_SEALS, seals); err != nil {
		return err
	}
	bytes, err := unix.Mmap(descriptor, 0, size, protection, unix.MAP_SHARED)
	memory.bytes = bytes
	return err
}

// readOnly opens the memory once more, so that who gets that descriptor can map it for reading alone.
func (memory *memory) readOnly() (*os.File, error) {
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", memory.file.Fd()), os.O_RDONLY, 0)
}

// slice is the part of the memory that piece names; false where it does not lie inside.
func (memory *memory) slice(piece piece) ([]byte, bool) {
	end := piece.offset + piece.length
	if end < piece.offset || end > uint64(len(memory.bytes)) {
		return nil, false
	}
	return memory.bytes[piece.offset:end:end], true
}

// giveBack returns pages to the system; they read as zeros afterwards. Where it is refused the pages stay.
func (memory *memory) giveBack(offset, length uint64) {
	mode := uint32(unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE)
	_ = unix.Fallocate(int(memory.file.Fd()), mode, int64(offset), int64(length))
}

// word is a counter that both sides change.
func (memory *memory) word(offset int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&memory.bytes[offset : offset+4][0]))
}

func (memory *memory) putUint32(offset int, value uint32) {
	*(*uint32)(unsafe.Pointer(&memory.bytes[offset : offset+4][0])) = value
}

func (memory *memory) putUint64(offset int, value uint64) {
	*(*uint64)(unsafe.Pointer(&memory.bytes[offset : offset+8][0])) = value
}

func (memory *memory) close() {
	if memory.bytes != nil {
		_ = unix.Munmap(memory.bytes)
		memory.bytes = nil
	}
	_ = memory.file.Close()
}

const (
	futexWake = 1
	wakeAll   = 1 << 30
)

// wake wakes who sleeps on word, in any process.
func wake(word *atomic.Uint32, threads int) {
	// Raw: it never blocks, so the scheduler need not be told.
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWake, uintptr(threads), 0, 0, 0)
}

package shm

// RequestBytesTaken is how much of the arena for calls is in use: buffers that are out, and calls that run.
func (shm *Engine) RequestBytesTaken() uint64 {
	requests := shm.requests
	requests.mutex.Lock()
	defer requests.mutex.Unlock()
	return requests.arena.bytesTaken
}

/*
 * The engine as a library. Written by hand; the structures are those of src/abi.rs, and both sides check their lengths
 * when they are compiled. Raise TREELINE_ABI_VERSION with every change that the other side would misread.
 *
 * All functions may be called from many threads at once, except treeline_engine_close, which must be the last. No function
 * calls back. A panic inside the engine becomes a reply with an error status.
 *
 * Memory that is passed in is read during the call alone. Memory that comes out belongs to the engine, is read where it
 * lies, and is given back by treeline_memory_release.
 */
#ifndef TREELINE_ENGINE_H
#define TREELINE_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define TREELINE_ASSERT(condition) static_assert(condition, #condition)
#else
#define TREELINE_ASSERT(condition) _Static_assert(condition, #condition)
#endif

#define TREELINE_ABI_VERSION 1u

/* Segments of a call, and of a reply, at most. */
#define TREELINE_SEGMENTS_MAX 1024u
/* Events that one call of treeline_engine_poll gives, at most. */
#define TREELINE_EVENTS_MAX 256u

/* An engine, and the cancellation of a call. */
typedef struct treeline_engine treeline_engine;
typedef struct treeline_cancellation treeline_cancellation;

typedef struct {
  const uint8_t *data; /* may be NULL where length is 0 */
  size_t length;
} treeline_bytes;

typedef struct {
  treeline_bytes header;          /* the encoded message */
  const treeline_bytes *segments; /* the payload */
  size_t segment_count;
  uint32_t operation;   /* Operation of engine.proto */
  uint32_t priority;    /* 0 to 255 */
  uint64_t deadline_ns; /* nanoseconds from now; 0: none */
  uint8_t trace_id[16]; /* zeros: not traced */
  uint8_t span_id[8];
  uint8_t trace_flags;
  uint8_t padding[7];
} treeline_call;

/* The payload is the call's own. */
#define TREELINE_REPLY_ECHO 1u
/* The payload is one segment of eight bytes, `word`. */
#define TREELINE_REPLY_WORD 2u

typedef struct {
  uint32_t status; /* Status of engine.proto; where it is not OK, the header is an ErrorDetail */
  uint32_t flags;  /* TREELINE_REPLY_… */
  uint8_t word[8];
  treeline_bytes header;
  const treeline_bytes *segments;
  size_t segment_count;
  void *memory; /* for treeline_memory_release; NULL: nothing is held */
} treeline_reply;

/* One reply of a generation. */
typedef struct {
  uint64_t stream; /* as given to treeline_engine_generate */
  uint32_t status; /* other than OK on the last one alone */
  uint32_t last;   /* 1: nothing follows; the header may be empty */
  treeline_bytes header;
  void *memory; /* for treeline_memory_release; NULL: nothing is held */
} treeline_event;

TREELINE_ASSERT(sizeof(treeline_bytes) == 16);
TREELINE_ASSERT(sizeof(treeline_call) == 80);
TREELINE_ASSERT(sizeof(treeline_reply) == 56);
TREELINE_ASSERT(sizeof(treeline_event) == 40);

/*
 * Opens an engine. abi_version must be TREELINE_ABI_VERSION and contract_hash that of the library's contract; config is
 * JSON, the fields of EngineConfig. NULL: refused; failure then says why, and its memory is released as a reply's.
 */
treeline_engine *treeline_engine_open(uint32_t abi_version, treeline_bytes contract_hash, treeline_bytes config,
                                      treeline_reply *failure);

/* Answers a call on this thread. cancellation may be NULL. GENERATE is refused. */
void treeline_engine_call(treeline_engine *engine, const treeline_call *call, treeline_cancellation *cancellation,
                          treeline_reply *reply);

/*
 * The same for a call with one segment and nothing else, the shortest way for ECHO and SUM. Gives TREELINE_REPLY_ECHO, or
 * TREELINE_REPLY_WORD and writes the word; 0: not answered this way, make the whole call to learn why.
 */
uint32_t treeline_engine_call_plain(treeline_engine *engine, uint32_t operation, const uint8_t *data, size_t length,
                                    uint8_t word[8]);

/*
 * Begins a generation and returns. Its replies come from treeline_engine_poll under the number `stream`, which the caller
 * chooses. Status other than OK: it has not begun, reply says why, and no event follows.
 */
void treeline_engine_generate(treeline_engine *engine, const treeline_call *call, treeline_cancellation *cancellation,
                              uint64_t stream, treeline_reply *reply);

/*
 * Takes the next events of all generations, up to events_max, and gives their number. Waits where there are none, until
 * timeout_ns have passed or treeline_engine_wake is called; then it may be 0. One thread is enough for all.
 */
size_t treeline_engine_poll(treeline_engine *engine, treeline_event *events, size_t events_max, uint64_t timeout_ns);

/* Lets a poll that waits return. */
void treeline_engine_wake(treeline_engine *engine);

/* Refuses new calls. */
void treeline_engine_drain(treeline_engine *engine);

/* Ends the engine. No other function may run, or be called later, with it; replies stay good until they are released. */
void treeline_engine_close(treeline_engine *engine);

/* A way to cancel one call; from any thread, before, during and after it. */
treeline_cancellation *treeline_cancellation_new(void);
void treeline_cancellation_cancel(treeline_cancellation *cancellation);
void treeline_cancellation_free(treeline_cancellation *cancellation);

/* Gives memory of a reply or an event back, once. NULL is allowed. */
void treeline_memory_release(void *memory);

#ifdef __cplusplus
}
#endif
#endif

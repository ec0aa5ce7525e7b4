/*
 * Every function of treeline_engine.h from C, good calls and bad ones, over and over: run under valgrind or a sanitizer,
 * which see what Go's runtime hides. Arguments: contract hash, folder of models (with "identity"), rounds.
 */
#include "treeline_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ECHO = 1, SUM = 2, HELLO = 3, STATS = 4, INFER = 5, GENERATE = 9 };
enum { STATUS_INVALID_ARGUMENT = 1, STATUS_VERSION_MISMATCH = 12 };

#define CHECK(condition)                                                          \
  do {                                                                            \
    if (!(condition)) {                                                           \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);     \
      exit(1);                                                                    \
    }                                                                             \
  } while (0)

static treeline_bytes text(const char *characters) {
  treeline_bytes bytes = {(const uint8_t *)characters, strlen(characters)};
  return bytes;
}

/* Appends a length-delimited protobuf field; lengths below 128 alone. */
static size_t put(uint8_t *message, size_t length, uint8_t field, const void *bytes, size_t count) {
  CHECK(count < 128);
  message[length++] = (uint8_t)(field << 3 | 2);
  message[length++] = (uint8_t)count;
  memcpy(message + length, bytes, count);
  return length + count;
}

/* InferRequest of the identity model with `count` tensors of four bytes. */
static size_t infer_request(uint8_t *message, size_t count) {
  size_t length = put(message, 0, 1, "identity", 8);
  for (size_t index = 0; index < count; index++) {
    uint8_t tensor[64];
    const uint8_t shape[] = {4};
    size_t tensor_length = put(tensor, 0, 1, "x", 1);
    tensor_length = put(tensor, tensor_length, 2, "UINT8", 5);
    tensor_length = put(tensor, tensor_length, 3, shape, 1);
    length = put(message, length, 4, tensor, tensor_length);
  }
  return length;
}

static void call_plain(treeline_engine *engine) {
  uint8_t word[8] = {0};
  uint8_t *bytes = malloc(1000);
  CHECK(bytes != NULL);
  memset(bytes, 3, 1000);
  CHECK(treeline_engine_call_plain(engine, SUM, bytes, 1000, word) == TREELINE_REPLY_WORD);
  CHECK(word[0] == (3000 & 255) && word[1] == 3000 >> 8 && word[2] == 0);
  CHECK(treeline_engine_call_plain(engine, ECHO, bytes, 1000, word) == TREELINE_REPLY_ECHO);
  CHECK(treeline_engine_call_plain(engine, ECHO, NULL, 0, word) == TREELINE_REPLY_ECHO);
  CHECK(treeline_engine_call_plain(engine, INFER, bytes, 1000, word) == 0);
  CHECK(treeline_engine_call_plain(engine, 4711, bytes, 1000, word) == 0);
  free(bytes);
}

static void call_model(treeline_engine *engine, size_t tensors) {
  uint8_t message[1024];
  uint8_t *data = malloc(4 * tensors);
  treeline_bytes *segments = malloc(tensors * sizeof(treeline_bytes));
  CHECK(data != NULL && segments != NULL);
  for (size_t index = 0; index < 4 * tensors; index++) data[index] = (uint8_t)index;
  for (size_t index = 0; index < tensors; index++) {
    segments[index].data = data + 4 * index;
    segments[index].length = 4;
  }
  treeline_call call = {0};
  call.operation = INFER;
  call.header.data = message;
  call.header.length = infer_request(message, tensors);
  call.segments = segments;
  call.segment_count = tensors;
  call.deadline_ns = 10000000000u;
  treeline_cancellation *cancellation = treeline_cancellation_new();
  treeline_reply reply;
  treeline_engine_call(engine, &call, cancellation, &reply);
  treeline_cancellation_free(cancellation);
  CHECK(reply.status == 0 && reply.segment_count == tensors && reply.header.length > 0);
  for (size_t index = 0; index < tensors; index++) {
    CHECK(reply.segments[index].length == 4);
    CHECK(memcmp(reply.segments[index].data, data + 4 * index, 4) == 0);
  }
  free(segments);
  free(data);
  treeline_memory_release(reply.memory);
}

static void call_badly(treeline_engine *engine) {
  const uint8_t noise[] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
  treeline_bytes segment = {noise, sizeof noise};
  for (uint32_t operation = 0; operation < 20; operation++) {
    treeline_call call = {0};
    treeline_reply reply;
    call.operation = operation;
    call.header = segment;
    call.segments = &segment;
    call.segment_count = 1;
    treeline_engine_call(engine, &call, NULL, &reply);
    if (operation == 0 || operation == INFER || operation == GENERATE || operation > 13) {
      CHECK(reply.status == STATUS_INVALID_ARGUMENT);
    }
    treeline_memory_release(reply.memory);
  }
  treeline_call many = {0};
  treeline_reply reply;
  many.operation = ECHO;
  many.segments = &segment;
  many.segment_count = (size_t)-1;
  treeline_engine_call(engine, &many, NULL, &reply);
  CHECK(reply.status == STATUS_INVALID_ARGUMENT);
  treeline_memory_release(reply.memory);
}

static void begin(treeline_engine *engine, uint64_t stream, treeline_cancellation *cancellation, int endless) {
  uint8_t message[128];
  treeline_call call = {0};
  treeline_reply reply;
  size_t length = put(message, 0, 1, "identity", 8);
  length = put(message, length, 4, "abc", 3);
  if (endless) {
    message[length++] = 7 << 3; /* max_tokens = 2,097,151 */
    memcpy(message + length, "\xff\xff\x7f", 3);
    length += 3;
  }
  call.operation = GENERATE;
  call.header.data = message;
  call.header.length = length;
  treeline_engine_generate(engine, &call, cancellation, stream, &reply);
  CHECK(reply.status == 0);
  treeline_memory_release(reply.memory);
}

static void generate(treeline_engine *engine) {
  enum { STREAMS = 50 };
  treeline_cancellation *cancellation = treeline_cancellation_new();
  for (uint64_t stream = 0; stream < STREAMS; stream++) begin(engine, stream, NULL, 0);
  begin(engine, STREAMS, cancellation, 1);
  treeline_cancellation_cancel(cancellation);
  treeline_cancellation_free(cancellation);
  size_t ended = 0, pieces = 0;
  treeline_event events[TREELINE_EVENTS_MAX];
  while (ended < STREAMS + 1) {
    size_t count = treeline_engine_poll(engine, events, TREELINE_EVENTS_MAX, 1000000000u);
    for (size_t index = 0; index < count; index++) {
      ended += events[index].last;
      pieces += events[index].stream < STREAMS && !events[index].last;
      treeline_memory_release(events[index].memory);
    }
  }
  CHECK(pieces == 3 * STREAMS);
  treeline_engine_wake(engine);
  CHECK(treeline_engine_poll(engine, events, TREELINE_EVENTS_MAX, 1000000000u) == 0);
}

static void open_badly(const char *hash, const char *config) {
  treeline_reply failure;
  CHECK(treeline_engine_open(TREELINE_ABI_VERSION + 1, text(hash), text(config), &failure) == NULL);
  CHECK(failure.status == STATUS_VERSION_MISMATCH && failure.header.length > 0);
  treeline_memory_release(failure.memory);
  CHECK(treeline_engine_open(TREELINE_ABI_VERSION, text("0123456789abcdef"), text(config), &failure) == NULL);
  CHECK(failure.status == STATUS_VERSION_MISMATCH && failure.header.length > 0);
  treeline_memory_release(failure.memory);
  CHECK(treeline_engine_open(TREELINE_ABI_VERSION, text(hash), text("{"), &failure) == NULL);
  CHECK(failure.status == STATUS_INVALID_ARGUMENT);
  treeline_memory_release(failure.memory);
}

int main(int count, char **arguments) {
  CHECK(count == 4);
  char config[4200];
  snprintf(config, sizeof config, "{\"repository\": \"%s\", \"threads\": 1}", arguments[2]);
  open_badly(arguments[1], config);
  treeline_reply failure;
  treeline_engine *engine = treeline_engine_open(TREELINE_ABI_VERSION, text(arguments[1]), text(config), &failure);
  CHECK(engine != NULL);
  for (int round = atoi(arguments[3]); round > 0; round--) {
    call_plain(engine);
    call_model(engine, 1);
    call_model(engine, 20);
    call_badly(engine);
    generate(engine);
  }
  treeline_engine_drain(engine);
  treeline_engine_close(engine);
  treeline_memory_release(NULL);
  puts("good");
  return 0;
}

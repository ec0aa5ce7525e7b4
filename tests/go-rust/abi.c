/*
 * Every function of treeline_engine.h from C, good calls and bad ones, over and over: run under valgrind or a sanitizer,
 * which see what Go's runtime hides. Arguments: contract hash, folder of models (with "identity"), calls to make at least,
 * and, to show that a leak is noticed, "leak", with which one reply is not given back.
 */
#include "message.h"
#include "treeline_engine.h"

enum { ECHO = 1, SUM = 2, HELLO = 3, STATS = 4, INFER = 5, GENERATE = 9, OPERATION_MAX = 13 };
enum { STATUS_INVALID_ARGUMENT = 1, STATUS_CANCELLED = 8, STATUS_VERSION_MISMATCH = 12 };
/* Fields of InferRequest and GenerateRequest. */
enum { INFER_MODEL = 1, INFER_INPUTS = 4, GENERATE_MODEL = 1, GENERATE_PROMPT = 4, GENERATE_MAX_TOKENS = 7 };

#define SECONDS(count) ((count) * UINT64_C(1000000000))

/* Calls made so far. */
static size_t calls;
/* Whether the next reply shall not be given back. */
static int leak_next;

static treeline_bytes text(const char *characters) {
  treeline_bytes bytes = {(const uint8_t *)characters, strlen(characters)};
  return bytes;
}

static void release(void *memory) {
  if (leak_next && memory != NULL) {
    leak_next = 0;
    return;
  }
  treeline_memory_release(memory);
}

static treeline_reply call(treeline_engine *engine, uint32_t operation, const message *header,
                           const treeline_bytes *segments, size_t segment_count) {
  treeline_call request = {0};
  treeline_reply reply;
  request.operation = operation;
  if (header != NULL) {
    request.header.data = header->bytes;
    request.header.length = header->length;
  }
  request.segments = segments;
  request.segment_count = segment_count;
  request.deadline_ns = SECONDS(60);
  treeline_cancellation *cancellation = calls % 2 == 0 ? treeline_cancellation_new() : NULL;
  treeline_engine_call(engine, &request, cancellation, &reply);
  treeline_cancellation_free(cancellation);
  calls++;
  return reply;
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
  calls += 5;
}

static const struct {
  const char *name;
  size_t bytes;
} datatypes[] = {
  {"BOOL", 1},  {"UINT8", 1}, {"UINT16", 2}, {"UINT32", 4}, {"UINT64", 8}, {"INT8", 1}, {"INT16", 2},
  {"INT32", 4}, {"INT64", 8}, {"FP16", 2},   {"BF16", 2},   {"FP32", 4},   {"FP64", 8}, {"BYTES", 5},
};
enum { DATATYPES = sizeof datatypes / sizeof *datatypes };

/* Bytes that only this place holds, so that a read beyond them is seen. An element of BYTES is its length, 1, and a byte. */
static treeline_bytes new_data(size_t datatype, size_t elements) {
  const size_t bytes = datatypes[datatype].bytes, length = bytes * elements;
  uint8_t *data = malloc(length);
  CHECK(data != NULL);
  for (size_t index = 0; index < length; index++) data[index] = (uint8_t)(index * 7 + datatype);
  if (strcmp(datatypes[datatype].name, "BYTES") == 0) {
    for (size_t index = 0; index < length; index += bytes) memcpy(data + index, "\1\0\0\0", 4);
  }
  treeline_bytes made = {data, length};
  return made;
}

static void check_reply(const treeline_reply *reply, const treeline_bytes *sent, size_t count) {
  CHECK(reply->status == 0 && reply->segment_count == count && reply->header.length > 0);
  for (size_t index = 0; index < count; index++) {
    CHECK(reply->segments[index].length == sent[index].length);
    CHECK(memcmp(reply->segments[index].data, sent[index].data, sent[index].length) == 0);
  }
}

/* A tensor of each datatype, alone and all together, through a model. */
static void call_model(treeline_engine *engine) {
  enum { ELEMENTS = 33 };
  treeline_bytes sent[DATATYPES];
  message all = {.length = 0};
  put_text(&all, INFER_MODEL, "identity");
  for (size_t index = 0; index < DATATYPES; index++) {
    sent[index] = new_data(index, ELEMENTS);
    put_tensor(&all, INFER_INPUTS, datatypes[index].name, datatypes[index].name, ELEMENTS);
    message one = {.length = 0};
    put_text(&one, INFER_MODEL, "identity");
    put_tensor(&one, INFER_INPUTS, "x", datatypes[index].name, ELEMENTS);
    treeline_reply reply = call(engine, INFER, &one, &sent[index], 1);
    check_reply(&reply, &sent[index], 1);
    release(reply.memory);
  }
  treeline_reply echo = call(engine, ECHO, NULL, sent, DATATYPES);
  CHECK(echo.status == 0 && echo.flags == TREELINE_REPLY_ECHO && echo.memory == NULL);
  treeline_reply reply = call(engine, INFER, &all, sent, DATATYPES);
  /* A reply is good after its call's own memory is gone. */
  for (size_t index = 0; index < DATATYPES; index++) free((void *)sent[index].data);
  CHECK(reply.status == 0 && reply.segment_count == DATATYPES);
  for (size_t index = 0; index < DATATYPES; index++) {
    treeline_bytes expected = new_data(index, ELEMENTS);
    check_reply(&(treeline_reply){.header = reply.header, .segments = reply.segments + index, .segment_count = 1},
                &expected, 1);
    free((void *)expected.data);
  }
  release(reply.memory);
}

static void call_with_much(treeline_engine *engine) {
  const size_t uint8 = 1;
  const int64_t elements = 32 << 20;
  treeline_bytes sent = new_data(uint8, (size_t)elements);
  message header = {.length = 0};
  put_text(&header, INFER_MODEL, "identity");
  put_tensor(&header, INFER_INPUTS, "x", "UINT8", elements);
  treeline_reply reply = call(engine, INFER, &header, &sent, 1);
  check_reply(&reply, &sent, 1);
  release(reply.memory);
  free((void *)sent.data);
}

static void refused(treeline_engine *engine, const message *header, const treeline_bytes *segments, size_t count) {
  treeline_reply reply = call(engine, INFER, header, segments, count);
  CHECK(reply.status == STATUS_INVALID_ARGUMENT && reply.segment_count == 0 && reply.header.length > 0);
  release(reply.memory);
}

/* Tensors that are not what their header says. */
static void call_with_malformed_tensors(treeline_engine *engine) {
  const struct {
    const char *datatype;
    int64_t elements;
    size_t bytes;
  } malformed[] = {
    {"UINT8", 3, 4},       {"UINT8", 5, 4}, {"FP64", 1, 7},         {"FP128", 1, 16},          {"", 1, 1},
    {"UINT8", -1, 4},      {"FP32", 1, 0},  {"FP64", INT64_MAX, 8}, {"FP64", INT64_C(1) << 61, 0},
    {"UINT8", INT64_MIN, 0}, {"BYTES", 1, 3}, {"BYTES", 1, 4},        {"BYTES", 2, 5},
  };
  for (size_t index = 0; index < sizeof malformed / sizeof *malformed; index++) {
    message header = {.length = 0};
    uint8_t *data = malloc(malformed[index].bytes + 1);
    CHECK(data != NULL);
    memset(data, 1, malformed[index].bytes);
    treeline_bytes sent = {data, malformed[index].bytes};
    put_text(&header, INFER_MODEL, "identity");
    put_tensor(&header, INFER_INPUTS, "x", malformed[index].datatype, malformed[index].elements);
    refused(engine, &header, &sent, 1);
    free(data);
  }
  const treeline_bytes pair[] = {text("a"), text("b")};
  message twice = {.length = 0};
  put_text(&twice, INFER_MODEL, "identity");
  put_tensor(&twice, INFER_INPUTS, "x", "UINT8", 1);
  refused(engine, &twice, pair, 2); /* one tensor, two segments */
  put_tensor(&twice, INFER_INPUTS, "x", "UINT8", 1);
  refused(engine, &twice, pair, 2); /* two tensors of one name */
  refused(engine, &twice, NULL, 0);
}

static void call_badly(treeline_engine *engine) {
  static const message noise = {.bytes = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}, .length = 12};
  const treeline_bytes segment = {noise.bytes, noise.length};
  for (uint32_t operation = 0; operation < 20; operation++) {
    treeline_reply reply = call(engine, operation, &noise, &segment, 1);
    if (operation == 0 || operation == INFER || operation == GENERATE || operation > OPERATION_MAX) {
      CHECK(reply.status == STATUS_INVALID_ARGUMENT);
    }
    release(reply.memory);
  }
  treeline_reply reply = call(engine, ECHO, NULL, &segment, (size_t)-1);
  CHECK(reply.status == STATUS_INVALID_ARGUMENT);
  release(reply.memory);
}

static void begin(treeline_engine *engine, uint64_t stream, treeline_cancellation *cancellation, uint64_t tokens_max) {
  message header = {.length = 0};
  treeline_call request = {0};
  treeline_reply reply;
  put_text(&header, GENERATE_MODEL, "identity");
  put_text(&header, GENERATE_PROMPT, "abc");
  if (tokens_max > 0) put_number(&header, GENERATE_MAX_TOKENS, tokens_max);
  request.operation = GENERATE;
  request.header.data = header.bytes;
  request.header.length = header.length;
  treeline_engine_generate(engine, &request, cancellation, stream, &reply);
  CHECK(reply.status == 0);
  release(reply.memory);
  calls++;
}

/* Fifty streams that end by themselves, and one that is cancelled. */
static void generate(treeline_engine *engine) {
  enum { STREAMS = 50, ENDLESS = 2000000 };
  treeline_cancellation *cancellation = treeline_cancellation_new();
  for (uint64_t stream = 0; stream < STREAMS; stream++) begin(engine, stream, NULL, 0);
  begin(engine, STREAMS, cancellation, ENDLESS);
  treeline_cancellation_cancel(cancellation);
  treeline_cancellation_free(cancellation);
  size_t ended = 0, pieces = 0;
  treeline_event events[TREELINE_EVENTS_MAX];
  while (ended < STREAMS + 1) {
    size_t count = treeline_engine_poll(engine, events, TREELINE_EVENTS_MAX, SECONDS(1));
    for (size_t index = 0; index < count; index++) {
      const treeline_event *event = &events[index];
      ended += event->last;
      pieces += event->stream < STREAMS && !event->last;
      CHECK(!event->last || event->status == (event->stream == STREAMS ? STATUS_CANCELLED : 0));
      release(event->memory);
    }
  }
  CHECK(pieces == 3 * STREAMS);
  treeline_engine_wake(engine);
  CHECK(treeline_engine_poll(engine, events, TREELINE_EVENTS_MAX, SECONDS(1)) == 0);
}

static void open_badly(const char *hash, const char *config) {
  const struct {
    uint32_t version, status;
    const char *hash, *config;
  } other[] = {
    {TREELINE_ABI_VERSION + 1, STATUS_VERSION_MISMATCH, hash, config},
    {TREELINE_ABI_VERSION, STATUS_VERSION_MISMATCH, "0123456789abcdef", config},
    {TREELINE_ABI_VERSION, STATUS_VERSION_MISMATCH, "", config},
    {TREELINE_ABI_VERSION, STATUS_INVALID_ARGUMENT, hash, "{"},
    {TREELINE_ABI_VERSION, STATUS_INVALID_ARGUMENT, hash, "{\"repository\": \"/no such folder\"}"},
  };
  for (size_t index = 0; index < sizeof other / sizeof *other; index++) {
    treeline_reply failure;
    CHECK(treeline_engine_open(other[index].version, text(other[index].hash), text(other[index].config), &failure) ==
          NULL);
    CHECK(failure.status == other[index].status && failure.header.length > 0);
    release(failure.memory);
  }
}

int main(int count, char **arguments) {
  CHECK(count == 4 || (count == 5 && strcmp(arguments[4], "leak") == 0));
  const char *hash = arguments[1];
  char config[4200];
  snprintf(config, sizeof config, "{\"repository\": \"%s\", \"threads\": 1}", arguments[2]);
  open_badly(hash, config);
  treeline_reply failure;
  treeline_engine *engine = treeline_engine_open(TREELINE_ABI_VERSION, text(hash), text(config), &failure);
  CHECK(engine != NULL);
  leak_next = count == 5;
  call_with_much(engine);
  for (const size_t wanted = strtoul(arguments[3], NULL, 10); calls < wanted;) {
    call_plain(engine);
    call_model(engine);
    call_with_malformed_tensors(engine);
    call_badly(engine);
    generate(engine);
  }
  treeline_engine_drain(engine);
  treeline_engine_close(engine);
  treeline_memory_release(NULL);
  printf("%zu calls\n", calls);
  return 0;
}

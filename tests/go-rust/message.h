/* Messages of proto/services.proto, written by hand: a C program that needs no protobuf library. */
#ifndef TREELINE_TESTS_MESSAGE_H
#define TREELINE_TESTS_MESSAGE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                          \
  do {                                                                            \
    if (!(condition)) {                                                           \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);     \
      exit(1);                                                                    \
    }                                                                             \
  } while (0)

/* Bytes of a message, at most. */
enum { MESSAGE_BYTES_MAX = 4096 };

typedef struct {
  uint8_t bytes[MESSAGE_BYTES_MAX];
  size_t length;
} message;

static inline void put_byte(message *to, uint8_t byte) {
  CHECK(to->length < MESSAGE_BYTES_MAX);
  to->bytes[to->length++] = byte;
}

/* Seven bits a byte, the lowest first. */
static inline void put_varint(message *to, uint64_t value) {
  for (; value > 127; value >>= 7) put_byte(to, (uint8_t)(value | 128));
  put_byte(to, (uint8_t)value);
}

static inline void put_number(message *to, uint8_t field, uint64_t value) {
  put_varint(to, (uint64_t)field << 3);
  put_varint(to, value);
}

static inline void put_bytes(message *to, uint8_t field, const void *bytes, size_t count) {
  put_varint(to, (uint64_t)field << 3 | 2);
  put_varint(to, count);
  CHECK(count <= MESSAGE_BYTES_MAX - to->length);
  memcpy(to->bytes + to->length, bytes, count);
  to->length += count;
}

static inline void put_text(message *to, uint8_t field, const char *text) { put_bytes(to, field, text, strlen(text)); }

/* A treeline.v1.Tensor of one dimension as a field of `to`. */
static inline void put_tensor(message *to, uint8_t field, const char *name, const char *datatype, int64_t elements) {
  message shape = {.length = 0}, tensor = {.length = 0};
  put_varint(&shape, (uint64_t)elements);
  put_text(&tensor, 1, name);
  put_text(&tensor, 2, datatype);
  put_bytes(&tensor, 3, shape.bytes, shape.length);
  put_bytes(to, field, tensor.bytes, tensor.length);
}

#endif

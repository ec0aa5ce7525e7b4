// The part of TensorFlow's C API (tensorflow/c/c_api.h) that serving a SavedModel takes, found in the library at run time.
#ifndef TREELINE_TENSORFLOW_LIBRARY_H
#define TREELINE_TENSORFLOW_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

typedef struct TF_Status TF_Status;
typedef struct TF_Graph TF_Graph;
typedef struct TF_Session TF_Session;
typedef struct TF_SessionOptions TF_SessionOptions;
typedef struct TF_Tensor TF_Tensor;
typedef struct TF_Operation TF_Operation;

typedef struct {
  TF_Operation *operation;
  int index;
} TF_Output;

typedef struct {
  const void *data;
  size_t length;
  void (*data_deallocator)(void *data, size_t length);
} TF_Buffer;

// Opens the library; NULL where that went well, else why not. Once in a process.
const char *treeline_tf_open(const char *path);
const char *treeline_tf_version(void);

TF_Status *treeline_tf_new_status(void);
void treeline_tf_delete_status(TF_Status *status);
int treeline_tf_code(const TF_Status *status);
const char *treeline_tf_message(const TF_Status *status);

TF_Graph *treeline_tf_new_graph(void);
void treeline_tf_delete_graph(TF_Graph *graph);
TF_Operation *treeline_tf_operation(TF_Graph *graph, const char *name);

// Loads a SavedModel's tag "serve" into the graph. The description (a MetaGraphDef) must be given back.
TF_Session *treeline_tf_load(const char *folder, TF_Graph *graph, TF_Buffer **description, TF_Status *status);
void treeline_tf_delete_buffer(TF_Buffer *buffer);
void treeline_tf_close(TF_Session *session, TF_Status *status);
void treeline_tf_run(TF_Session *session, const TF_Output *inputs, TF_Tensor *const *input_values, int input_count,
                     const TF_Output *outputs, TF_Tensor **output_values, int output_count, TF_Status *status);

TF_Tensor *treeline_tf_new_tensor(int type, const int64_t *shape, int dimensions, size_t bytes);
void treeline_tf_delete_tensor(TF_Tensor *tensor);
int treeline_tf_type(const TF_Tensor *tensor);
int treeline_tf_dimensions(const TF_Tensor *tensor);
int64_t treeline_tf_length(const TF_Tensor *tensor, int dimension);
size_t treeline_tf_bytes(const TF_Tensor *tensor);
void *treeline_tf_data(const TF_Tensor *tensor);

#endif

//go:build tensorflow

#include "library.h"

#include <dlfcn.h>
#include <stdbool.h>

static struct {
  const char *(*version)(void);
  TF_Status *(*new_status)(void);
  void (*delete_status)(TF_Status *);
  int (*code)(const TF_Status *);
  const char *(*message)(const TF_Status *);
  TF_Graph *(*new_graph)(void);
  void (*delete_graph)(TF_Graph *);
  TF_Operation *(*operation)(TF_Graph *, const char *);
  TF_SessionOptions *(*new_options)(void);
  void (*delete_options)(TF_SessionOptions *);
  TF_Session *(*load)(const TF_SessionOptions *, const TF_Buffer *, const char *, const char *const *, int, TF_Graph *,
                      TF_Buffer *, TF_Status *);
  TF_Buffer *(*new_buffer)(void);
  void (*delete_buffer)(TF_Buffer *);
  void (*close)(TF_Session *, TF_Status *);
  void (*delete_session)(TF_Session *, TF_Status *);
  void (*run)(TF_Session *, const TF_Buffer *, const TF_Output *, TF_Tensor *const *, int, const TF_Output *,
              TF_Tensor **, int, const TF_Operation *const *, int, TF_Buffer *, TF_Status *);
  TF_Tensor *(*allocate)(int, const int64_t *, int, size_t);
  void (*delete_tensor)(TF_Tensor *);
  int (*type)(const TF_Tensor *);
  int (*dimensions)(const TF_Tensor *);
  int64_t (*length)(const TF_Tensor *, int);
  size_t (*bytes)(const TF_Tensor *);
  void *(*data)(const TF_Tensor *);
} tf;

static const struct {
  const char *name;
  void *place;
} symbols[] = {
    {"TF_Version", &tf.version},
    {"TF_NewStatus", &tf.new_status},
    {"TF_DeleteStatus", &tf.delete_status},
    {"TF_GetCode", &tf.code},
    {"TF_Message", &tf.message},
    {"TF_NewGraph", &tf.new_graph},
    {"TF_DeleteGraph", &tf.delete_graph},
    {"TF_GraphOperationByName", &tf.operation},
    {"TF_NewSessionOptions", &tf.new_options},
    {"TF_DeleteSessionOptions", &tf.delete_options},
    {"TF_LoadSessionFromSavedModel", &tf.load},
    {"TF_NewBuffer", &tf.new_buffer},
    {"TF_DeleteBuffer", &tf.delete_buffer},
    {"TF_CloseSession", &tf.close},
    {"TF_DeleteSession", &tf.delete_session},
    {"TF_SessionRun", &tf.run},
    {"TF_AllocateTensor", &tf.allocate},
    {"TF_DeleteTensor", &tf.delete_tensor},
    {"TF_TensorType", &tf.type},
    {"TF_NumDims", &tf.dimensions},
    {"TF_Dim", &tf.length},
    {"TF_TensorByteSize", &tf.bytes},
    {"TF_TensorData", &tf.data},
};

const char *treeline_tf_open(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return dlerror();
  for (size_t index = 0; index < sizeof symbols / sizeof symbols[0]; index++) {
    void *symbol = dlsym(library, symbols[index].name);
    if (symbol == NULL) return dlerror();
    // POSIX gives functions as data pointers.
    *(void **)symbols[index].place = symbol;
  }
  return NULL;
}

const char *treeline_tf_version(void) { return tf.version(); }
TF_Status *treeline_tf_new_status(void) { return tf.new_status(); }
void treeline_tf_delete_status(TF_Status *status) { tf.delete_status(status); }
int treeline_tf_code(const TF_Status *status) { return tf.code(status); }
const char *treeline_tf_message(const TF_Status *status) { return tf.message(status); }
TF_Graph *treeline_tf_new_graph(void) { return tf.new_graph(); }
void treeline_tf_delete_graph(TF_Graph *graph) { tf.delete_graph(graph); }
TF_Operation *treeline_tf_operation(TF_Graph *graph, const char *name) { return tf.operation(graph, name); }

TF_Session *treeline_tf_load(const char *folder, TF_Graph *graph, TF_Buffer **description, TF_Status *status) {
  static const char *const tags[] = {"serve"};
  TF_SessionOptions *options = tf.new_options();
  *description = tf.new_buffer();
  TF_Session *session = tf.load(options, NULL, folder, tags, 1, graph, *description, status);
  tf.delete_options(options);
  return session;
}

void treeline_tf_delete_buffer(TF_Buffer *buffer) { tf.delete_buffer(buffer); }

void treeline_tf_close(TF_Session *session, TF_Status *status) {
  tf.close(session, status);
  tf.delete_session(session, status);
}

void treeline_tf_run(TF_Session *session, const TF_Output *inputs, TF_Tensor *const *input_values, int input_count,
                     const TF_Output *outputs, TF_Tensor **output_values, int output_count, TF_Status *status) {
  tf.run(session, NULL, inputs, input_values, input_count, outputs, output_values, output_count, NULL, 0, NULL, status);
}

TF_Tensor *treeline_tf_new_tensor(int type, const int64_t *shape, int dimensions, size_t bytes) {
  return tf.allocate(type, shape, dimensions, bytes);
}

void treeline_tf_delete_tensor(TF_Tensor *tensor) { tf.delete_tensor(tensor); }
int treeline_tf_type(const TF_Tensor *tensor) { return tf.type(tensor); }
int treeline_tf_dimensions(const TF_Tensor *tensor) { return tf.dimensions(tensor); }
int64_t treeline_tf_length(const TF_Tensor *tensor, int dimension) { return tf.length(tensor, dimension); }
size_t treeline_tf_bytes(const TF_Tensor *tensor) { return tf.bytes(tensor); }
void *treeline_tf_data(const TF_Tensor *tensor) { return tf.data(tensor); }

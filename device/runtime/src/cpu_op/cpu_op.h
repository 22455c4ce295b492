/* Functions that run on the CPU inside a model (api/cvi_nn.md section 10).
 *
 * A function is one entry of the table in registry.c: setup checks the arguments and the shapes and
 * keeps what run needs in call->state; run may then rely on it. Neither prints to stdout.
 */
#ifndef TPUFORGE_CPU_OP_H
#define TPUFORGE_CPU_OP_H

#include "model/rt.h"

typedef struct {
  const char *name;
  CVI_FMT fmt;
  int32_t dim[4];
  uint64_t count; /* elements; `data` has room for all of them */
  void *data;     /* valid in run only */
  float qscale;   /* outputs: setup may change it */
} cpu_tensor;

typedef struct cpu_arena cpu_arena;

typedef struct {
  const char *function;
  cpu_tensor *in, *out;
  uint32_t in_count, out_count;
  const uint8_t *args; /* nested FlatBuffer, may be NULL */
  uint32_t args_size;
  void *state;
  cpu_arena *arena;
} cpu_call;

typedef struct {
  const char *name;
  CVI_RC (*setup)(cpu_call *call);
  CVI_RC (*run)(cpu_call *call);
} cpu_op;

/* The function of that name; NULL: not known. */
const cpu_op *cpu_op_find(const char *name);

/* ---- for the functions ---- */

/* Zeroed memory that lives as long as the call; NULL: out of memory (text set). */
void *cpu_alloc(cpu_call *call, size_t count, size_t size);
void cpu_release(cpu_call *call); /* frees all of it */

/* Arguments, strictly typed. A missing or differently typed one gives DATA_ERR with its name. */
CVI_RC cpu_arg_int(cpu_call *call, const char *key, int32_t *out);
CVI_RC cpu_arg_float(cpu_call *call, const char *key, float *out);
CVI_RC cpu_arg_bool(cpu_call *call, const char *key, bool *out);
CVI_RC cpu_arg_string(cpu_call *call, const char *key, const char **out);
CVI_RC cpu_arg_ints(cpu_call *call, const char *key, const int32_t **out, uint32_t *count);
CVI_RC cpu_arg_floats(cpu_call *call, const char *key, const float **out, uint32_t *count);
bool cpu_arg_exists(cpu_call *call, const char *key); /* of any type */

/* DATA_ERR with the function's name in front. */
CVI_RC cpu_fail(const cpu_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* At least this many inputs and outputs? */
CVI_RC cpu_need(const cpu_call *call, uint32_t inputs, uint32_t outputs);
/* Has the tensor this format (and at least `count` elements)? `what` is for the message. */
CVI_RC cpu_need_fmt(const cpu_call *call, const cpu_tensor *t, CVI_FMT fmt, const char *what);
CVI_RC cpu_need_count(const cpu_call *call, const cpu_tensor *t, uint64_t count, const char *what);

/* axis in [-4, 4) made >= 0; DATA_ERR otherwise. */
CVI_RC cpu_axis(const cpu_call *call, int32_t axis, unsigned *out);

/* Products of the dims before, at and behind an axis. */
typedef struct {
  size_t outer, length, inner;
} cpu_split;
cpu_split cpu_split_at(const cpu_tensor *t, unsigned axis);

uint32_t cpu_elem_size(CVI_FMT fmt);

/* Round half away from zero, saturating; NaN gives 0. Written so that loops vectorise: the clamped
 * value minus its truncation is exact. */
static inline int8_t cpu_round_int8(float value) {
  float v = value == value ? value : 0.0f;
  v = v > 127.0f ? 127.0f : v;
  v = v < -128.0f ? -128.0f : v;
  int32_t whole = (int32_t)v;
  float rest = v - (float)whole;
  return (int8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f));
}

static inline float cpu_bf16_to_float(uint16_t bits) {
  union {
    uint32_t u;
    float f;
  } v = {.u = (uint32_t)bits << 16};
  return v.f;
}

#endif

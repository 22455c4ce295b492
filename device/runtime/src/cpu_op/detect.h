/* What the detection functions share (api/cvi_nn.md section 10.6). */
#ifndef TPUFORGE_CPU_DETECT_H
#define TPUFORGE_CPU_DETECT_H

#include <math.h>

#include "cpu_op/cpu_op.h"

typedef struct {
  float box[4]; /* meaning depends on the function */
  float score;
  int32_t class;
  uint32_t order; /* of generation */
} detection;

/* A bounded list: when it is full, the candidates with the lowest scores go. */
typedef struct {
  detection *items;
  uint32_t count, capacity;
  uint32_t made; /* candidates seen */
} detection_list;

enum { MOST_CANDIDATES = 8192 };

/* Room for min(`expected`, MOST_CANDIDATES) candidates. */
CVI_RC detect_list(cpu_call *call, detection_list *list, uint64_t expected);
void detect_add(detection_list *list, const detection *d);
/* Keep the `most` best, in order of generation. */
void detect_keep_best(detection_list *list, uint32_t most);
/* Keep the `most` best, best first (ties: in order of generation). */
void detect_sort_best(detection_list *list, uint32_t most);

/* "Erase" suppression: for i < j of one class with overlap(i, j) > threshold, the one with the
 * smaller score (ties: j) gets score 0; an erased i goes on suppressing in its row. */
void detect_erase(detection_list *list, float threshold,
                  float (*overlap)(const float a[4], const float b[4]));

static inline float detect_sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

/* All inputs and outputs fp32? */
CVI_RC detect_need_floats(const cpu_call *call, uint32_t inputs);

/* Inputs 0 .. count - 1 sorted by key(tensor), descending (ascending: negate), stable. */
void detect_sort_inputs(const cpu_call *call, uint32_t count, int64_t (*key)(const cpu_tensor *t),
                        const cpu_tensor **out);

#endif

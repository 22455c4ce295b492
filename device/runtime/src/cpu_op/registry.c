/* The table of CPU functions. */
#include <string.h>

#include "cpu_op/cpu_op.h"
#include "cpu_op/ops.h"

#define ENTRY(text, name) {text, name##_setup, name##_run}

static const cpu_op table[] = {
    ENTRY("quant", quant),
    ENTRY("softmax_cpu", softmax),
    ENTRY("preprocess", preprocess),
    ENTRY("transpose", transpose),
    ENTRY("pixelshuffle", pixelshuffle),
    ENTRY("softmax", softmax),
    ENTRY("cumsum", cumsum),
    ENTRY("cpu_reduce_mean", cpu_reduce_mean),
    ENTRY("cpu_reduce_max", cpu_reduce_max),
    ENTRY("reduce_l2", reduce_l2),
    ENTRY("topk", topk),
    ENTRY("argmax", argmax),
    ENTRY("argmax_with_conf", argmax_with_conf),
    ENTRY("argmax_v3", argmax_v3),
    ENTRY("embedding", embedding),
    ENTRY("gatherelements_pt", gatherelements_pt),
    ENTRY("gathernd_tf", gathernd_tf),
    ENTRY("interp", interp),
    ENTRY("grid_sampler", grid_sampler),
    ENTRY("deform_im2col", deform_im2col),
    ENTRY("deform_conv2d", deform_conv2d),
    ENTRY("instance_norm", instance_norm),
    ENTRY("roi_pooling", roi_pooling),
    ENTRY("yolo_detection", yolo_detection),
    ENTRY("frcn_detection", frcn_detection),
    ENTRY("proposal", proposal),
    ENTRY("retinaface_detection", retinaface_detection),
    ENTRY("detectionoutput", detectionoutput),
};

const cpu_op *cpu_op_find(const char *name) {
  for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
    if (strcmp(table[i].name, name) == 0) {
      return &table[i];
    }
  }
  return NULL;
}

/* The functions of the registry: NAME_setup and NAME_run of every family. */
#ifndef TPUFORGE_CPU_OPS_H
#define TPUFORGE_CPU_OPS_H

#include "cpu_op/cpu_op.h"

#define CPU_OP(name)                                                                               \
  CVI_RC name##_setup(cpu_call *call);                                                             \
  CVI_RC name##_run(cpu_call *call);

CPU_OP(quant)      /* quant.c */
CPU_OP(preprocess) /* layout.c */
CPU_OP(transpose)
CPU_OP(pixelshuffle)
CPU_OP(softmax) /* reduce.c */
CPU_OP(cumsum)
CPU_OP(cpu_reduce_mean)
CPU_OP(cpu_reduce_max)
CPU_OP(reduce_l2)
CPU_OP(topk)   /* topk.c */
CPU_OP(argmax) /* argmax.c */
CPU_OP(argmax_with_conf)
CPU_OP(argmax_v3)
CPU_OP(embedding) /* gather.c */
CPU_OP(gatherelements_pt)
CPU_OP(gathernd_tf)
CPU_OP(interp) /* interp.c */
CPU_OP(grid_sampler)
CPU_OP(deform_im2col) /* deform.c */
CPU_OP(deform_conv2d)
CPU_OP(instance_norm) /* norm.c */
CPU_OP(roi_pooling)
CPU_OP(yolo_detection)
CPU_OP(frcn_detection) /* frcn.c */
CPU_OP(proposal)
CPU_OP(retinaface_detection)
CPU_OP(detectionoutput) /* ssd.c */

#undef CPU_OP

#endif

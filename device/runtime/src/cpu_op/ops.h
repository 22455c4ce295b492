/* The functions of the registry: NAME_setup and NAME_run of every family. */
#ifndef TPUFORGE_CPU_OPS_H
#define TPUFORGE_CPU_OPS_H

#include "cpu_op/cpu_op.h"

#define CPU_OP(name)                   \
  CVI_RC name##_setup(cpu_call *call); \
  CVI_RC name##_run(cpu_call *call);

CPU_OP(quant) /* quant.c */

#undef CPU_OP

#endif

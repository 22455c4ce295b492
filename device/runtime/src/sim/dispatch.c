/* Choice of the kernel set: once per process, by CPU features or TPU_SIM_KERNEL. */

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

static int cpu_has(const kernel_set *k) {
#if defined(__x86_64__)
    if (k == &kernels_avx2) {
        return __builtin_cpu_supports("avx2");
    }
    if (k == &kernels_avx512vnni) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") &&
               __builtin_cpu_supports("avx512vbmi2");
    }
#endif
    return k == &kernels_scalar;
}

static const kernel_set *choose(void) {
    static const kernel_set *const sets[] = {
#if defined(__x86_64__)
        &kernels_avx512vnni, &kernels_avx2,
#endif
        &kernels_scalar,
    };
    const char *wanted = getenv("TPU_SIM_KERNEL");
    const kernel_set *best = NULL;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        if (!cpu_has(sets[i])) {
            continue;
        }
        if (wanted && strcmp(wanted, sets[i]->name) == 0) {
            return sets[i];
        }
        best = best ? best : sets[i];
    }
    return best;
}

const kernel_set *kernels_get(void) {
    static _Atomic(const kernel_set *) chosen;
    const kernel_set *k = atomic_load_explicit(&chosen, memory_order_acquire);
    if (!k) {
        k = choose(); /* every thread that gets here finds the same set */
        atomic_store_explicit(&chosen, k, memory_order_release);
    }
    return k;
}

const char *tpu_sim_kernel_name(void) { return kernels_get()->name; }

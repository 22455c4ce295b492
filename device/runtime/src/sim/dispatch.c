/* Choice of the kernel set: once per process, by CPU features or TPU_SIM_KERNEL. */

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Extended control register 0: which register states the system saves. */
static uint64_t saved_states(void) {
  uint32_t lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (uint64_t)hi << 32 | lo;
}

/* By cpuid and not by the compiler's __builtin_cpu_supports, which needs a runtime that some
 * toolchains lack. */
static int cpu_has(const kernel_set *k) {
  uint32_t a, b, c, d, max_leaf = __get_cpuid_max(0, NULL);
  if (k == &kernels_scalar) {
    return 1;
  }
  if (max_leaf < 7 || !__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) { /* OSXSAVE */
    return 0;
  }
  const uint64_t states = saved_states();
  __cpuid_count(7, 0, a, b, c, d);
  const int avx2 = (states & 6) == 6 && (b >> 5 & 1);
  if (k == &kernels_avx2) {
    return avx2;
  }
  const uint32_t fdqbwvl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* ebx: F, DQ, BW, VL */
  const uint32_t extra = 1u << 1 | 1u << 6 | 1u << 11;                /* ecx: VBMI, VBMI2, VNNI */
  return avx2 && (states & 0xE6) == 0xE6 && (b & fdqbwvl) == fdqbwvl && (c & extra) == extra;
}
#elif defined(__ARM_NEON)
#include <sys/auxv.h>

/* Bits of AT_HWCAP: Advanced SIMD (32-bit ARM; every aarch64 processor has it), dot products. */
#define BIT_NEON (1ul << 12)
#define BIT_DOTPROD (1ul << 20)

static int cpu_has(const kernel_set *k) {
  const unsigned long has = getauxval(AT_HWCAP);
#if defined(__aarch64__)
  return k != &kernels_neon_dot || (has & BIT_DOTPROD);
#else
  return k != &kernels_neon || (has & BIT_NEON);
#endif
}
#else
static int cpu_has(const kernel_set *k) { return k == &kernels_scalar; }
#endif

static const kernel_set *choose(void) {
  static const kernel_set *const sets[] = {
#if defined(__x86_64__)
      &kernels_avx512vnni, &kernels_avx2,
#endif
#if defined(__ARM_NEON)
#if defined(__aarch64__)
      &kernels_neon_dot,
#endif
      &kernels_neon,
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

/* CV18xx TPU simulator: executes binary TPU command streams bit-accurately on the host.
 *
 * A program (tpu_program) is decoded and validated once; it is immutable afterwards and may be run
 * by any number of simulators at the same time. A simulator (tpu_sim) owns the local memory of one
 * TPU; it keeps its contents between runs, like the hardware.
 *
 * Addresses: DDR address = regions[base selector].data + 40-bit address field.
 */
#ifndef TPUFORGE_SIM_H
#define TPUFORGE_SIM_H

#include <stddef.h>
#include <stdint.h>

typedef struct tpu_sim tpu_sim;         /* one simulated TPU: local memory of one chip */
typedef struct tpu_program tpu_program; /* decoded, validated command stream (immutable) */

typedef struct {
  uint8_t *data; /* host memory base register k points to */
  uint64_t size; /* bytes */
  int writable;  /* 0: stores into this region are refused */
} tpu_region;

enum {
  TPU_SIM_OK = 0,
  TPU_SIM_NOMEM,
  TPU_SIM_BAD_STREAM,  /* not decodable: magic, checksum, descriptor type, field value */
  TPU_SIM_RANGE,       /* access outside local memory or outside a region */
  TPU_SIM_UNSUPPORTED, /* something the hardware model refuses (chip, kind, form) */
  TPU_SIM_DEADLOCK     /* command ids of the two engines wait for each other */
};

/* New simulator of `chip` ("cv183x", "cv182x", "cv181x", "cv180x"); local memory zeroed. With the
 * environment TPU_SIM_THREADS = 2..16 it computes large commands with that many threads, which end
 * with it; the results are the same. */
int tpu_sim_create(const char *chip, tpu_sim **out);
void tpu_sim_destroy(tpu_sim *sim);

/* Decode and validate `size` bytes. On failure *out is NULL and err (if errlen > 0) names command
 * index, engine, field and value. */
int tpu_program_create(const char *chip, const uint8_t *stream, size_t size, tpu_program **out,
                       char *err, size_t errlen);
void tpu_program_destroy(tpu_program *prog);

/* Check that every DDR access of the program lies inside its region (sizes in bytes). */
int tpu_program_check(const tpu_program *prog, const uint64_t region_size[8], char *err,
                      size_t errlen);

/* Check against the regions, then execute the whole stream. The regions must not be changed by
 * others during the call. */
int tpu_sim_run(tpu_sim *sim, const tpu_program *prog, const tpu_region regions[8], char *err,
                size_t errlen);

/* Local memory (lane-major, contiguous): for tests and tracing. */
uint8_t *tpu_sim_lmem(tpu_sim *sim, size_t *size);

/* Name of the kernel set in use: "scalar", "avx2", "avx512vnni", "neon", "neon-dot"
 * (environment TPU_SIM_KERNEL forces one). */
const char *tpu_sim_kernel_name(void);

#endif

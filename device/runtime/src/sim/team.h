/* A few threads that do parts of one piece of work together. */
#ifndef TPUFORGE_SIM_TEAM_H
#define TPUFORGE_SIM_TEAM_H

#include <stdint.h>

#define TEAM_MOST 16

typedef struct team team;

/* The threads of a simulator: environment TPU_SIM_THREADS, 1..TEAM_MOST; 1 without it. */
uint32_t team_wanted(void);

/* A team of the calling thread and threads-1 others, or of as many as the system gives; NULL when
 * it gives none. */
team *team_create(uint32_t threads);
void team_destroy(team *t);        /* NULL allowed; the other threads have ended afterwards */
uint32_t team_size(const team *t); /* 1 for NULL */

/* Call work(ctx, part) for part 0 (in the calling thread) .. team_size - 1, return when all have
 * returned. */
void team_run(team *t, void (*work)(void *ctx, uint32_t part), void *ctx);

#endif

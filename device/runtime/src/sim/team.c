/* Threads of a simulator, see team.h. A thread without work looks for some for a short while, then
 * sleeps: commands follow each other at distances far below the time a wake-up takes. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* signal masks in strict C11 */
#endif

#include "team.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SPINS 400 /* some ten microseconds */
#define STACK_BYTES (512u << 10)

struct team {
  pthread_mutex_t lock;
  pthread_cond_t start, done;
  atomic_uint round; /* counts pieces of work */
  atomic_uint left;  /* threads still at work */
  atomic_int stop;
  void (*work)(void *ctx, uint32_t part);
  void *ctx;
  uint32_t threads;
  pthread_t ids[TEAM_MOST];
};

typedef struct {
  team *t;
  uint32_t part;
} member;

static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__ARM_ARCH_7A__)
  __asm__ volatile("yield");
#endif
}

uint32_t team_wanted(void) {
  const char *text = getenv("TPU_SIM_THREADS");
  const long n = text ? strtol(text, NULL, 10) : 1;
  return n < 1 ? 1 : n > TEAM_MOST ? TEAM_MOST : (uint32_t)n;
}

/* Wait for a round other than `seen`. */
static unsigned next_round(team *t, unsigned seen) {
  unsigned round = seen;
  for (int i = 0; i < SPINS && round == seen; i++) {
    relax();
    round = atomic_load_explicit(&t->round, memory_order_acquire);
  }
  if (round == seen) {
    pthread_mutex_lock(&t->lock);
    while ((round = atomic_load(&t->round)) == seen) {
      pthread_cond_wait(&t->start, &t->lock);
    }
    pthread_mutex_unlock(&t->lock);
  }
  return round;
}

static void *member_main(void *arg) {
  member m = *(member *)arg;
  free(arg);
  for (unsigned seen = 0;;) {
    seen = next_round(m.t, seen);
    if (atomic_load(&m.t->stop)) {
      return NULL;
    }
    m.t->work(m.t->ctx, m.part);
    if (atomic_fetch_sub(&m.t->left, 1) == 1) {
      pthread_mutex_lock(&m.t->lock);
      pthread_cond_signal(&m.t->done);
      pthread_mutex_unlock(&m.t->lock);
    }
  }
}

/* One more thread; signals stay with the threads of the program. */
static int add_member(team *t, const pthread_attr_t *attr) {
  member *m = malloc(sizeof *m);
  if (!m) {
    return 0;
  }
  *m = (member){t, t->threads};
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  const int failed = pthread_create(&t->ids[t->threads], attr, member_main, m);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (failed) {
    free(m);
    return 0;
  }
  t->threads++;
  return 1;
}

team *team_create(uint32_t threads) {
  team *t = threads > 1 ? calloc(1, sizeof *t) : NULL;
  if (!t) {
    return NULL;
  }
  pthread_mutex_init(&t->lock, NULL);
  pthread_cond_init(&t->start, NULL);
  pthread_cond_init(&t->done, NULL);
  t->threads = 1;
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, STACK_BYTES);
  while (t->threads < threads && add_member(t, &attr)) {
  }
  pthread_attr_destroy(&attr);
  if (t->threads == 1) {
    team_destroy(t);
    t = NULL;
  }
  return t;
}

static void begin_round(team *t) {
  pthread_mutex_lock(&t->lock);
  atomic_fetch_add_explicit(&t->round, 1, memory_order_release);
  pthread_cond_broadcast(&t->start);
  pthread_mutex_unlock(&t->lock);
}

void team_destroy(team *t) {
  if (!t) {
    return;
  }
  atomic_store(&t->stop, 1);
  begin_round(t);
  for (uint32_t i = 1; i < t->threads; i++) {
    pthread_join(t->ids[i], NULL);
  }
  pthread_cond_destroy(&t->done);
  pthread_cond_destroy(&t->start);
  pthread_mutex_destroy(&t->lock);
  free(t);
}

uint32_t team_size(const team *t) { return t ? t->threads : 1; }

void team_run(team *t, void (*work)(void *ctx, uint32_t part), void *ctx) {
  t->work = work;
  t->ctx = ctx;
  atomic_store(&t->left, t->threads - 1);
  begin_round(t);
  work(ctx, 0);
  for (int i = 0; i < SPINS && atomic_load_explicit(&t->left, memory_order_acquire); i++) {
    relax();
  }
  if (atomic_load(&t->left)) {
    pthread_mutex_lock(&t->lock);
    while (atomic_load(&t->left)) {
      pthread_cond_wait(&t->done, &t->lock);
    }
    pthread_mutex_unlock(&t->lock);
  }
}

/* ForwardAsync and ForwardWait: one worker thread per model, tasks run in order of submission
 * (api/cvi_nn.md section 3.6). */
#include <string.h>

#include "handle.h"
#include "model.h"

enum { SLOTS = 4 }; /* running + waiting */

typedef struct rt_task {
  rt_instance *inst;
  CVI_TENSOR *in, *out;
  int32_t in_count, out_count;
  void *handle;
  bool done;
  CVI_RC rc;
  char text[256];
  struct rt_task *next_in_queue, *next_of_instance;
} rt_task;

struct rt_worker {
  pthread_t thread;
  pthread_cond_t changed; /* queue, count or a `done` changed; with model->worker_lock */
  rt_task *first, *last;
  uint32_t count; /* queued or running */
  bool stop;
};

static void *work(void *arg) {
  rt_model *m = arg;
  rt_worker *w = m->worker;
  pthread_mutex_lock(&m->worker_lock);
  for (;;) {
    while (!w->first && !w->stop) {
      pthread_cond_wait(&w->changed, &m->worker_lock);
    }
    rt_task *task = w->first;
    if (!task) {
      break;
    }
    w->first = task->next_in_queue;
    pthread_mutex_unlock(&m->worker_lock);
    pthread_mutex_lock(&task->inst->lock);
    task->rc = rt_forward(task->inst, task->in, task->in_count, task->out, task->out_count);
    pthread_mutex_unlock(&task->inst->lock);
    if (task->rc) {
      strncpy(task->text, rt_error_text(), sizeof(task->text) - 1);
    }
    pthread_mutex_lock(&m->worker_lock);
    task->done = true;
    w->count--;
    pthread_cond_broadcast(&w->changed);
  }
  pthread_mutex_unlock(&m->worker_lock);
  return NULL;
}

/* worker_lock held. The new thread waits for that lock before it looks at m->worker. */
static CVI_RC start_worker(rt_model *m) {
  if (m->worker) {
    return CVI_RC_SUCCESS;
  }
  rt_worker *w = rt_zalloc(1, sizeof(*w), "worker");
  if (!w) {
    return CVI_RC_NOMEM;
  }
  pthread_cond_init(&w->changed, NULL);
  m->worker = w;
  if (pthread_create(&w->thread, NULL, work, m) != 0) {
    m->worker = NULL;
    pthread_cond_destroy(&w->changed);
    rt_free(w);
    return rt_fail(CVI_RC_NOMEM, "ForwardAsync: can not start a thread");
  }
  return CVI_RC_SUCCESS;
}

void rt_async_stop(rt_model *m) {
  rt_worker *w = m->worker;
  if (!w) {
    return;
  }
  pthread_mutex_lock(&m->worker_lock);
  w->stop = true;
  pthread_cond_broadcast(&w->changed);
  pthread_mutex_unlock(&m->worker_lock);
  pthread_join(w->thread, NULL);
  pthread_cond_destroy(&w->changed);
  rt_free(w);
  m->worker = NULL;
}

CVI_RC rt_async_start(rt_instance *inst, CVI_TENSOR *in, int32_t in_count, CVI_TENSOR *out,
                      int32_t out_count, void **handle) {
  rt_model *m = inst->model;
  rt_task *task = rt_zalloc(1, sizeof(*task), "task");
  if (!task) {
    return CVI_RC_NOMEM;
  }
  task->inst = inst;
  task->in = in;
  task->in_count = in_count;
  task->out = out;
  task->out_count = out_count;
  task->handle = rt_handle_new(RT_H_TASK, task);
  pthread_mutex_lock(&m->worker_lock);
  CVI_RC rc = task->handle ? start_worker(m) : CVI_RC_NOMEM;
  if (!rc) {
    rt_worker *w = m->worker;
    while (w->count >= SLOTS) {
      pthread_cond_wait(&w->changed, &m->worker_lock);
    }
    w->count++;
    if (w->first) {
      w->last->next_in_queue = task;
    } else {
      w->first = task;
    }
    w->last = task;
    task->next_of_instance = inst->tasks;
    inst->tasks = task;
    *handle = task->handle;
    pthread_cond_broadcast(&w->changed);
  }
  pthread_mutex_unlock(&m->worker_lock);
  if (rc) {
    if (task->handle) {
      rt_handle_close(RT_H_TASK, task->handle);
    }
    rt_free(task);
  }
  return rc;
}

/* worker_lock held. */
static void unlink_task(rt_instance *inst, const rt_task *task) {
  for (rt_task **at = &inst->tasks; *at; at = &(*at)->next_of_instance) {
    if (*at == task) {
      *at = task->next_of_instance;
      return;
    }
  }
}

CVI_RC rt_async_wait(rt_instance *inst, void *handle) {
  rt_model *m = inst->model;
  rt_task *task = rt_handle_pin(RT_H_TASK, handle);
  if (!task) {
    return CVI_RC_INVALID_ARG;
  }
  bool mine = task->inst == inst;
  rt_handle_unpin(handle);
  if (!mine) {
    return rt_fail(CVI_RC_INVALID_ARG, "ForwardWait: the task belongs to another model handle");
  }
  /* of several waiting threads one gets the task */
  task = rt_handle_close(RT_H_TASK, handle);
  if (!task) {
    return CVI_RC_INVALID_ARG;
  }
  pthread_mutex_lock(&m->worker_lock);
  while (!task->done) {
    pthread_cond_wait(&m->worker->changed, &m->worker_lock);
  }
  unlink_task(inst, task);
  pthread_mutex_unlock(&m->worker_lock);
  CVI_RC rc = task->rc;
  if (rc) {
    rt_set_error(task->text);
  }
  rt_free(task);
  return rc;
}

/* The handle of `inst` is closed: nobody waits and nobody adds tasks. */
void rt_async_finish(rt_instance *inst) {
  rt_model *m = inst->model;
  pthread_mutex_lock(&m->worker_lock);
  while (inst->tasks) {
    rt_task *task = inst->tasks;
    while (!task->done) {
      pthread_cond_wait(&m->worker->changed, &m->worker_lock);
    }
    inst->tasks = task->next_of_instance;
    pthread_mutex_unlock(&m->worker_lock);
    rt_handle_close(RT_H_TASK, task->handle);
    rt_free(task);
    pthread_mutex_lock(&m->worker_lock);
  }
  pthread_mutex_unlock(&m->worker_lock);
}

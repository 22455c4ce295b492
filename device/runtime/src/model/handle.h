/* Handles given to the caller: numbers, never pointers, so that a stale or invented one is noticed.
 */
#ifndef TPUFORGE_HANDLE_H
#define TPUFORGE_HANDLE_H

#include "rt.h"

typedef enum { RT_H_MODEL = 1, RT_H_CONTEXT, RT_H_MEM, RT_H_TASK, RT_H_KERNEL } rt_handle_type;

/* A new handle for `obj`; NULL when out of memory. */
void *rt_handle_new(rt_handle_type type, void *obj);

/* The object behind a handle, pinned until rt_handle_unpin; NULL (text set) for an unknown one. */
void *rt_handle_pin(rt_handle_type type, void *handle);
void rt_handle_unpin(void *handle);

/* The first handle whose object matches, NULL if there is none (no text). `matches` runs under the
 * table's lock. */
void *rt_handle_find(rt_handle_type type, bool (*matches)(const void *obj, const void *wanted),
                     const void *wanted);

/* Make the handle invalid, wait until nobody has it pinned, return the object (NULL: unknown). */
void *rt_handle_close(rt_handle_type type, void *handle);

#endif

/* Mutexes, conditions and thread roles that clang's thread-safety analysis checks.
 *
 * A role is a capability that is never locked: a function that only one kind of thread may call
 * declares FM_REQUIRES(fm_on_worker), and a thread's entry takes the role with fm_role_enter(). It
 * costs nothing at run time. */
#ifndef FM_THREAD_H
#define FM_THREAD_H

#include "engine/annotate.h"

#include <assert.h>
#include <pthread.h>

typedef struct FM_CAPABILITY("mutex") fm_mutex {
    pthread_mutex_t handle;
} fm_mutex;

typedef struct FM_CAPABILITY("role") fm_role {
    char unused;
} fm_role;

extern fm_role fm_on_worker; /* an engine worker thread */

static inline void fm_role_enter(fm_role *role) FM_ASSERTS(role)
{
    (void)role;
}

static inline void fm_mutex_init(fm_mutex *mutex)
{
    int failed = pthread_mutex_init(&mutex->handle, NULL);
    assert(failed == 0);
    (void)failed;
}

static inline void fm_mutex_done(fm_mutex *mutex)
{
    int failed = pthread_mutex_destroy(&mutex->handle);
    assert(failed == 0); /* destroying a held mutex is a programming error */
    (void)failed;
}

static inline void fm_mutex_lock(fm_mutex *mutex) FM_ACQUIRES(mutex) FM_NO_THREAD_SAFETY
{
    int failed = pthread_mutex_lock(&mutex->handle);
    assert(failed == 0);
    (void)failed;
}

static inline void fm_mutex_unlock(fm_mutex *mutex) FM_RELEASES(mutex) FM_NO_THREAD_SAFETY
{
    int failed = pthread_mutex_unlock(&mutex->handle);
    assert(failed == 0);
    (void)failed;
}

static inline void fm_condition_wait(pthread_cond_t *condition, fm_mutex *mutex) FM_REQUIRES(mutex)
{
    int failed = pthread_cond_wait(condition, &mutex->handle);
    assert(failed == 0);
    (void)failed;
}

#endif

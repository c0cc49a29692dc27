/* Thread roles that clang checks: which functions may run on which thread. They cost nothing at run
 * time.
 *
 * The loop thread owns every socket, every libmicrohttpd and libuv call (but uv_async_send) and all of
 * server/'s state. Engine workers run one function of ours, the encoder in exchange.c; before the
 * loop runs, the threads of models_open.c open models. */
#ifndef FMD_ROLES_H
#define FMD_ROLES_H

#include "engine/annotate.h"

typedef struct FM_CAPABILITY("role") fmd_role {
    char unused;
} fmd_role;

extern fmd_role fmd_on_loop;

/* At the top of a callback: states that libuv or libmicrohttpd called it on the loop thread. */
static inline void fmd_role_enter(fmd_role *role) FM_ASSERTS(role)
{
    (void)role;
}

#endif

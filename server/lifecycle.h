/* Signals, and the way from serving to stopped (phases: server.h).
 *
 * SIGTERM: not ready at once, serving on for drain_pause, then no new connections and no new work,
 * running requests finish, exit 0. SIGINT skips the pause. drain_timeout cancels what is left. A
 * second signal of either kind cancels at once, exit 1. */
#ifndef FMD_LIFECYCLE_H
#define FMD_LIFECYCLE_H

#include "server/server.h"

FM_MUST_USE fm_status fmd_lifecycle_start(fmd_server *server, fm_error *err)
    FM_REQUIRES(fmd_on_loop);
/* Closes its handles; the loop has to turn once more. */
void fmd_lifecycle_close(fmd_server *server) FM_REQUIRES(fmd_on_loop);

#endif

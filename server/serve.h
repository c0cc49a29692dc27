/* The daemon: `velocityd serve`. */
#ifndef FMD_SERVE_H
#define FMD_SERVE_H

#include "config/options.h"

/* Opens sockets and models, serves until SIGTERM or SIGINT, and drains. Logs what happens, failures to
 * start too.
 * Returns the process's exit code: 0 after a drain, 1 when it could not start or a second signal cut
 * the drain short. Thread: the main one, which becomes the loop thread. */
int fmd_serve(const fmc_options *options);

#endif

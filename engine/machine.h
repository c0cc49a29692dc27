/* What the operating system lets this process use. */
#ifndef FM_MACHINE_H
#define FM_MACHINE_H

#include "engine/fm_machine.h"

/* The quota of a cgroup (v2, the tightest up to the root; else v1) in CPUs; 0 when there is none.
 *   membership  the file that names the group: /proc/self/cgroup
 *   root        where cgroups are mounted: /sys/fs/cgroup
 * Thread: any. */
double fm_cpu_quota(const char *membership, const char *root);

#endif

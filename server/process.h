/* Facts about this process from /proc, for the process_* metrics. Zero where /proc does not say. */
#ifndef FMD_PROCESS_H
#define FMD_PROCESS_H

double fmd_process_resident_bytes(void);
double fmd_process_cpu_seconds(void);
double fmd_process_open_fds(void);
double fmd_process_max_fds(void);
double fmd_process_start_seconds(void); /* since the epoch */

#endif

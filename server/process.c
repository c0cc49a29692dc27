#include "server/process.h"

#include <dirent.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

double fmd_process_resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0;
    }
    char text[128] = "", *rest = text;
    char *got = fgets(text, sizeof text, file);
    fclose(file);
    if (got == NULL) {
        return 0;
    }
    (void)strtod(text, &rest); /* total size; the second number is what is resident, in pages */
    return strtod(rest, NULL) * (double)sysconf(_SC_PAGESIZE);
}

double fmd_process_cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

double fmd_process_open_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL) {
        return 0;
    }
    double count = 0;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    closedir(directory);
    return count - 1; /* less the one that was just counting */
}

double fmd_process_max_fds(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (double)limit.rlim_cur : 0;
}

/* Field 22 of /proc/self/stat, in ticks since boot. */
static double start_ticks(void)
{
    FILE *file = fopen("/proc/self/stat", "re");
    if (file == NULL) {
        return 0;
    }
    char text[1024] = "";
    char *got = fgets(text, sizeof text, file);
    fclose(file);
    /* The second field is the program's name in parentheses, which may hold anything. */
    const char *rest = got == NULL ? NULL : strrchr(text, ')');
    for (int field = 2; rest != NULL && field < 22; field++) {
        rest = strchr(rest + 1, ' ');
    }
    return rest == NULL ? 0 : strtod(rest, NULL);
}

static double boot_seconds(void)
{
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL) {
        return 0;
    }
    char line[256];
    double seconds = 0;
    while (seconds == 0 && fgets(line, sizeof line, file) != NULL) {
        seconds = strncmp(line, "btime ", 6) == 0 ? strtod(line + 6, NULL) : 0;
    }
    fclose(file);
    return seconds;
}

double fmd_process_start_seconds(void)
{
    double boot = boot_seconds();
    return boot == 0 ? 0 : boot + start_ticks() / (double)sysconf(_SC_CLK_TCK);
}

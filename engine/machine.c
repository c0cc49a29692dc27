/* What machine this is: CPUs that may be used, and the facts that a result's bits belong to. */
#include "engine/machine.h"

#include "engine/math/dense.h"

#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

/* ---- CPU count ---- */

static size_t affinity_count(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1;
    }
    return (size_t)CPU_COUNT(&set);
}

static bool read_line(const char *path, char *ret, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool found = fgets(ret, (int)size, file) != NULL;
    (void)fclose(file);
    return found;
}

/* Quota in CPUs of "quota period" microseconds; 0: none. */
static double quota_of(const char *quota, const char *period)
{
    char *end = NULL;
    double microseconds = strtod(quota, &end); /* "max" and "-1" mean none */
    double each = strtod(period, NULL);
    return end == quota || microseconds <= 0 || each <= 0 ? 0 : microseconds / each;
}

/* The tightest cgroup v2 quota of the group named in `membership` and its parents. */
static double quota_v2(const char *membership, const char *root)
{
    char line[512];
    if (!read_line(membership, line, sizeof line) || strncmp(line, "0::/", 4) != 0) {
        return 0;
    }
    line[strcspn(line, "\n")] = '\0';
    char *group = line + 3;
    double tightest = 0;
    for (;;) {
        char path[1024], value[128];
        (void)snprintf(path, sizeof path, "%s%s/cpu.max", root, group);
        if (read_line(path, value, sizeof value)) {
            char *space = strchr(value, ' ');
            double quota = space == NULL ? 0 : quota_of(value, space + 1);
            tightest = quota > 0 && (tightest == 0 || quota < tightest) ? quota : tightest;
        }
        char *slash = strrchr(group, '/');
        if (slash == NULL) {
            return tightest;
        }
        *slash = '\0';
    }
}

static double quota_v1(const char *root)
{
    char path[1024], quota[64], period[64];
    (void)snprintf(path, sizeof path, "%s/cpu/cpu.cfs_quota_us", root);
    if (!read_line(path, quota, sizeof quota)) {
        return 0;
    }
    (void)snprintf(path, sizeof path, "%s/cpu/cpu.cfs_period_us", root);
    return read_line(path, period, sizeof period) ? quota_of(quota, period) : 0;
}

double fm_cpu_quota(const char *membership, const char *root)
{
    double quota = quota_v2(membership, root);
    return quota > 0 ? quota : quota_v1(root);
}

size_t fm_cpu_count(void)
{
    size_t count = affinity_count();
    double quota = fm_cpu_quota("/proc/self/cgroup", "/sys/fs/cgroup");
    if (quota > 0 && quota < (double)count) {
        size_t whole = (size_t)quota;
        count = (double)whole < quota ? whole + 1 : whole;
    }
    return count == 0 ? 1 : count;
}

/* ---- Build facts ---- */

static char cpu_name[64], dense_version[128], build_id[64];
static fm_build_info build_info;
static pthread_once_t build_once = PTHREAD_ONCE_INIT;

static void name_cpu(void)
{
#if defined(__x86_64__)
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) != 0) {
        unsigned family = (a >> 8) & 0xf;
        unsigned model = (a >> 4) & 0xf;
        model |= family == 6 || family == 15 ? (a >> 12) & 0xf0 : 0;
        family += family == 15 ? (a >> 20) & 0xff : 0;
        (void)snprintf(cpu_name, sizeof cpu_name, "x86_64-family%u-model%u", family, model);
        return;
    }
#endif
#if defined(__aarch64__)
    (void)snprintf(cpu_name, sizeof cpu_name, "aarch64");
#else
    (void)snprintf(cpu_name, sizeof cpu_name, "unknown");
#endif
}

/* The build ID among the notes of one segment; each is a header, a name and a content, padded to 4 bytes. */
static void find_build_id(const unsigned char *notes, size_t size_bytes)
{
    ElfW(Nhdr) note;
    for (size_t at = 0; at + sizeof note <= size_bytes;) {
        memcpy(&note, notes + at, sizeof note);
        size_t name = at + sizeof note, content = name + (note.n_namesz + 3U) / 4U * 4U;
        size_t end = content + note.n_descsz;
        if (end > size_bytes) {
            return;
        }
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof "GNU" &&
            memcmp(notes + name, "GNU", sizeof "GNU") == 0) {
            for (size_t i = 0; i < note.n_descsz && 2 * i + 2 < sizeof build_id; i++) {
                (void)snprintf(build_id + 2 * i, 3, "%02x", notes[content + i]);
            }
            return;
        }
        at = content + (note.n_descsz + 3U) / 4U * 4U;
    }
}

/* For dl_iterate_phdr(), whose first object is the program itself. */
static int read_notes(struct dl_phdr_info *program, size_t size_bytes, void *context)
{
    (void)size_bytes;
    (void)context;
    for (size_t i = 0; i < program->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &program->dlpi_phdr[i];
        if (header->p_type == PT_NOTE) {
            ElfW(Addr) address = program->dlpi_addr + header->p_vaddr;
            find_build_id((const unsigned char *)address, header->p_memsz);
        }
    }
    return 1;
}

static void fill_build_info(void)
{
    name_cpu();
    (void)dl_iterate_phdr(read_notes, NULL);
    fm_dense_version(dense_version, sizeof dense_version);
    build_info = (fm_build_info){.dense_provider = fm_dense_provider(),
                                 .dense_version = dense_version,
                                 .kernels = fm_dense_kernels(),
                                 .id = build_id,
                                 .cpu = cpu_name};
}

const fm_build_info *fm_build(void)
{
    (void)pthread_once(&build_once, fill_build_info);
    return &build_info;
}

/* Opening, mapping and reading regular files. */
#include "engine/checkpoint/file.h"

#include "engine/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static fm_status fail_errno(fm_error *err, const char *path, const char *what)
{
    int number = errno;
    char buffer[128];
    const char *reason = strerror_r(number, buffer, sizeof buffer);
    fm_status status = FM_EIO;
    if (number == ENOENT || number == ENOTDIR) {
        status = FM_ENOTFOUND;
    } else if (number == ENOMEM) {
        status = FM_ENOMEM;
    }
    return fm_fail(err, status, "%s: %s: %s", path, what, reason);
}

fm_status fm_file_open(const char *path, size_t *ret_size_bytes, int *ret_descriptor, fm_error *err)
{
    /* O_NONBLOCK: opening a pipe that nobody writes to must not hang. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (descriptor < 0) {
        return fail_errno(err, path, "cannot open");
    }
    struct stat facts;
    if (fstat(descriptor, &facts) != 0) {
        fm_status status = fail_errno(err, path, "cannot stat");
        (void)close(descriptor);
        return status;
    }
    if (!S_ISREG(facts.st_mode)) {
        (void)close(descriptor);
        return fm_fail(err, FM_EIO, "%s: is not a regular file", path);
    }
    *ret_size_bytes = (size_t)facts.st_size;
    *ret_descriptor = descriptor;
    return FM_OK;
}

fm_status fm_file_map(const char *path, fm_mapping *ret, fm_error *err)
{
    size_t size_bytes = 0;
    int descriptor = -1;
    fm_status status = fm_file_open(path, &size_bytes, &descriptor, err);
    if (status != FM_OK) {
        return status;
    }
    void *data = NULL; /* an empty file cannot be mapped */
    if (size_bytes > 0) {
        data = mmap(NULL, size_bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
        if (data == MAP_FAILED) {
            status = fail_errno(err, path, "cannot map");
        }
    }
    (void)close(descriptor); /* the mapping keeps the file */
    if (status == FM_OK) {
        *ret = (fm_mapping){.data = data, .size_bytes = size_bytes};
    }
    return status;
}

void fm_file_forget(const void *data, size_t size_bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)data;
    uintptr_t first = (begin + page - 1) / page * page, end = (begin + size_bytes) / page * page;
    if (first < end) { /* it is only advice: what fails costs memory, nothing else */
        (void)madvise((void *)first, end - first, MADV_DONTNEED);
    }
}

void fm_file_unmap(fm_mapping *mapping)
{
    if (mapping->data != NULL) {
        /* munmap() takes the address as void * for historical reasons; nothing is written. */
        (void)munmap((void *)(uintptr_t)mapping->data, mapping->size_bytes);
    }
    *mapping = (fm_mapping){0};
}

static fm_status read_all(int descriptor, const char *path, char *data, size_t size_bytes,
                          fm_error *err)
{
    size_t used = 0;
    while (used < size_bytes) {
        ssize_t got = read(descriptor, data + used, size_bytes - used);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail_errno(err, path, "cannot read");
        }
        if (got == 0) {
            return fm_fail(err, FM_EIO, "%s: became shorter while it was read", path);
        }
        used += (size_t)got;
    }
    return FM_OK;
}

fm_status fm_file_read(const char *path, size_t max_bytes, char **ret, size_t *ret_size_bytes,
                       fm_error *err)
{
    assert(max_bytes < SIZE_MAX);
    size_t size_bytes = 0;
    int descriptor = -1;
    fm_status status = fm_file_open(path, &size_bytes, &descriptor, err);
    if (status != FM_OK) {
        return status;
    }
    char *data = NULL;
    if (size_bytes > max_bytes) {
        status = fm_fail(err, FM_EFORMAT, "%s: %zu bytes, at most %zu are allowed", path,
                         size_bytes, max_bytes);
        goto out;
    }
    data = fm_alloc(size_bytes + 1);
    if (data == NULL) {
        status = fm_fail(err, FM_ENOMEM, "%s: no memory for %zu bytes", path, size_bytes);
        goto out;
    }
    status = read_all(descriptor, path, data, size_bytes, err);
    if (status == FM_OK) {
        *ret = data;
        *ret_size_bytes = size_bytes;
        data = NULL;
    }
out:
    fm_free(data);
    (void)close(descriptor);
    return status;
}

bool fm_file_name_is_local(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

bool fm_file_name_ends(const char *name, const char *suffix)
{
    size_t name_bytes = strlen(name);
    size_t suffix_bytes = strlen(suffix);
    return name_bytes >= suffix_bytes && strcmp(name + name_bytes - suffix_bytes, suffix) == 0;
}

char *fm_file_path(const char *folder, const char *name)
{
    size_t size_bytes = strlen(folder) + 1 + strlen(name) + 1;
    char *path = fm_alloc(size_bytes);
    if (path != NULL) {
        int length = snprintf(path, size_bytes, "%s/%s", folder, name);
        assert(length >= 0 && (size_t)length == size_bytes - 1);
        (void)length;
    }
    return path;
}

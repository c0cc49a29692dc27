/* Files on the disk, then one rename. */
#include "engine/checkpoint/output_folder.h"

#include "engine/checkpoint/file.h"
#include "engine/memory.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PARTIAL_BYTES   ((size_t)64)      /* what a partial folder's name is longer by */
#define MAX_WRITE_BYTES ((size_t)1 << 30) /* the kernel takes less than 2 GiB at a time */

static fm_status fail_errno(fm_error *err, const char *path, const char *what)
{
    int number = errno;
    char buffer[128];
    const char *reason = strerror_r(number, buffer, sizeof buffer);
    fm_status status = number == ENOENT || number == ENOTDIR ? FM_ENOTFOUND : FM_EIO;
    return fm_fail(err, number == EEXIST || number == ENOTEMPTY ? FM_EINVAL : status, "%s: %s: %s",
                   path, what, reason);
}

/* "parent/.name.partial-<process>" of "parent/name"; path has no slashes behind it. */
static char *partial_path(const char *path)
{
    const char *slash = strrchr(path, '/');
    int parent = slash == NULL ? 0 : (int)(slash - path + 1);
    size_t size_bytes = strlen(path) + PARTIAL_BYTES;
    char *partial = fm_alloc(size_bytes);
    if (partial != NULL) {
        int length = snprintf(partial, size_bytes, "%.*s.%s.partial-%ld", parent, path,
                              path + parent, (long)getpid());
        assert(length > 0 && (size_t)length < size_bytes);
        (void)length;
    }
    return partial;
}

static void done(fm_output_folder *folder)
{
    fm_free(folder->path);
    fm_free(folder->partial);
    *folder = (fm_output_folder){0};
}

fm_status fm_output_folder_begin(const char *path, fm_output_folder *ret, fm_error *err)
{
    fm_output_folder folder = {.path = fm_string_copy(path)};
    if (folder.path == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a path");
    }
    for (size_t end = strlen(folder.path); end > 1 && folder.path[end - 1] == '/'; end--) {
        folder.path[end - 1] = '\0';
    }
    struct stat facts;
    fm_status status = FM_OK;
    folder.partial = partial_path(folder.path);
    if (folder.partial == NULL) {
        status = fm_fail(err, FM_ENOMEM, "no memory for a path");
    } else if (lstat(folder.path, &facts) == 0) {
        status = fm_fail(err, FM_EINVAL, "%s: is there already; name a new folder", folder.path);
    } else if (mkdir(folder.partial, 0777) != 0) {
        status = fail_errno(err, folder.partial, "cannot make the folder");
    }
    if (status == FM_OK) {
        *ret = folder;
    } else {
        done(&folder);
    }
    return status;
}

fm_status fm_output_folder_commit(fm_output_folder *folder, fm_error *err)
{
    /* Where the file system has no such rename, an empty folder alone could be replaced. */
    int result = renameat2(AT_FDCWD, folder->partial, AT_FDCWD, folder->path, RENAME_NOREPLACE);
    if (result != 0 && (errno == EINVAL || errno == ENOSYS)) {
        result = rename(folder->partial, folder->path);
    }
    if (result != 0) {
        return fail_errno(err, folder->path, "cannot put the folder in its place");
    }
    done(folder);
    return FM_OK;
}

void fm_output_folder_abort(fm_output_folder *folder)
{
    DIR *listing = folder->partial == NULL ? NULL : opendir(folder->partial);
    int descriptor = listing == NULL ? -1 : dirfd(listing);
    if (descriptor >= 0) {
        for (const struct dirent *item = readdir(listing); item != NULL; item = readdir(listing)) {
            (void)unlinkat(descriptor, item->d_name, 0); /* fails for "." and "..", as it should */
        }
        (void)closedir(listing);
        (void)rmdir(folder->partial);
    }
    done(folder);
}

fm_status fm_output_file_begin(const fm_output_folder *folder, const char *name,
                               fm_output_file *ret, fm_error *err)
{
    char *path = fm_file_path(folder->partial, name);
    if (path == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a path");
    }
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0) {
        fm_status status = fail_errno(err, path, "cannot make the file");
        fm_free(path);
        return status;
    }
    *ret = (fm_output_file){.path = path, .descriptor = descriptor};
    return FM_OK;
}

fm_status fm_output_file_write(fm_output_file *file, const void *data, size_t length, fm_error *err)
{
    const unsigned char *at = data;
    while (length > 0) {
        ssize_t wrote =
            write(file->descriptor, at, length < MAX_WRITE_BYTES ? length : MAX_WRITE_BYTES);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote < 0) {
            return fail_errno(err, file->path, "cannot write");
        }
        at += wrote;
        length -= (size_t)wrote;
    }
    return FM_OK;
}

fm_status fm_output_file_end(fm_output_file *file, fm_status status, fm_error *err)
{
    if (status == FM_OK && fsync(file->descriptor) != 0) {
        status = fail_errno(err, file->path, "cannot write");
    }
    if (close(file->descriptor) != 0 && status == FM_OK) {
        status = fail_errno(err, file->path, "cannot write");
    }
    fm_free(file->path);
    *file = (fm_output_file){.descriptor = -1};
    return status;
}

/* Temporary model folders. */
#include "tests/support/temp_folder.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void temp_folder_make(temp_folder *ret)
{
    const char *base = getenv("TMPDIR");
    int length = snprintf(ret->parent, sizeof ret->parent, "%s/velocityd-test-XXXXXX",
                          base == NULL || base[0] == '\0' ? "/tmp" : base);
    ck_assert(length > 0 && (size_t)length < sizeof ret->parent);
    ck_assert_ptr_nonnull(mkdtemp(ret->parent));
    (void)snprintf(ret->path, sizeof ret->path, "%s/model", ret->parent);
    ck_assert_int_eq(mkdir(ret->path, 0700), 0);
}

const char *temp_folder_file(const temp_folder *folder, const char *name)
{
    static char path[600];
    int length = snprintf(path, sizeof path, "%s/%s", folder->path, name);
    ck_assert(length > 0 && (size_t)length < sizeof path);
    return path;
}

void temp_folder_write(const temp_folder *folder, const char *name, const void *data,
                       size_t size_bytes)
{
    FILE *file = fopen(temp_folder_file(folder, name), "wb");
    ck_assert_ptr_nonnull(file);
    if (size_bytes > 0) {
        ck_assert_uint_eq(fwrite(data, 1, size_bytes, file), size_bytes);
    }
    ck_assert_int_eq(fclose(file), 0);
}

void temp_folder_write_text(const temp_folder *folder, const char *name, const char *text)
{
    temp_folder_write(folder, name, text, strlen(text));
}

void temp_folder_remove(temp_folder *folder)
{
    DIR *listing = opendir(folder->path);
    ck_assert_ptr_nonnull(listing);
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            ck_assert_int_eq(unlink(temp_folder_file(folder, entry->d_name)), 0);
        }
    }
    ck_assert_int_eq(closedir(listing), 0);
    ck_assert_int_eq(rmdir(folder->path), 0);
    ck_assert_int_eq(rmdir(folder->parent), 0);
}

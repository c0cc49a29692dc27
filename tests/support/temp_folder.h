/* A folder for one test, with a name that a model may have. */
#ifndef TESTS_TEMP_FOLDER_H
#define TESTS_TEMP_FOLDER_H

#include <stddef.h>

typedef struct temp_folder {
    char parent[256];
    char path[264]; /* parent/model */
} temp_folder;

void temp_folder_make(temp_folder *ret);
/* path/name; the result is valid until the next call. */
const char *temp_folder_file(const temp_folder *folder, const char *name);
void temp_folder_write(const temp_folder *folder, const char *name, const void *data,
                       size_t size_bytes);
void temp_folder_write_text(const temp_folder *folder, const char *name, const char *text);
/* Removes the folder and the files in it. */
void temp_folder_remove(temp_folder *folder);

#endif

/* {"build": "…", "bits_independent": true, "tile_rows": 64, "row_seconds": 1e-6, "call_seconds": 2e-6} */
#include "engine/checkpoint/trial_file.h"

#include "engine/checkpoint/file.h"
#include "engine/checkpoint/json_reader.h"
#include "engine/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_BYTES ((size_t)4096)
#define FILE_MODE 0644

static bool read_members(const fm_json_node *root, size_t most_rows, char **ret_build,
                         fm_trial *ret)
{
    static const char *const keys[] = {"build",       "bits_independent", "tile_rows",
                                       "row_seconds", "call_seconds",     NULL};
    const fm_json_node build = fm_json_member(root, "build");
    const fm_json_node independent = fm_json_member(root, "bits_independent");
    const fm_json_node tile_rows = fm_json_member(root, "tile_rows");
    const fm_json_node row_seconds = fm_json_member(root, "row_seconds");
    const fm_json_node call_seconds = fm_json_member(root, "call_seconds");
    return fm_json_check_object(root, keys, NULL) == FM_OK &&
           fm_json_read_string(&build, ret_build, NULL) == FM_OK &&
           fm_json_read_bool(&independent, &ret->bits_independent, NULL) == FM_OK &&
           fm_json_read_size(&tile_rows, 1, most_rows, &ret->tile_rows, NULL) == FM_OK &&
           fm_json_read_number(&row_seconds, &ret->row_seconds, NULL) == FM_OK &&
           fm_json_read_number(&call_seconds, &ret->call_seconds, NULL) == FM_OK;
}

static bool read_trial(const char *text, size_t length, const char *build, size_t most_rows,
                       fm_trial *ret)
{
    json_t *value = NULL;
    if (fm_json_text_parse(text, length, NULL, &value, NULL) != FM_OK) {
        return false;
    }
    const fm_json_node root = fm_json_root(value);
    char *found_build = NULL;
    fm_trial trial = {0}; /* a member that is absent leaves its own as it is */
    bool good = read_members(&root, most_rows, &found_build, &trial) && found_build != NULL &&
                strcmp(found_build, build) == 0 && trial.tile_rows > 0 && trial.row_seconds > 0 &&
                trial.call_seconds > 0;
    fm_free(found_build);
    json_decref(value);
    if (good) {
        *ret = trial;
    }
    return good;
}

bool fm_trial_file_read(const char *path, const char *build, size_t most_rows, fm_trial *ret)
{
    char *text = NULL;
    size_t length = 0;
    if (fm_file_read(path, MAX_BYTES, &text, &length, NULL) != FM_OK) {
        return false;
    }
    bool good = read_trial(text, length, build, most_rows, ret);
    fm_free(text);
    return good;
}

static char *trial_text(const char *build, const fm_trial *trial)
{
    json_t *value =
        json_pack("{s:s, s:b, s:I, s:f, s:f}", "build", build, "bits_independent",
                  trial->bits_independent, "tile_rows", (json_int_t)trial->tile_rows, "row_seconds",
                  trial->row_seconds, "call_seconds", trial->call_seconds);
    char *text = value == NULL ? NULL : fm_json_text_dump(value, JSON_INDENT(2));
    json_decref(value);
    return text;
}

/* Written aside and renamed, so that a reader never sees half of it; under a name of its own, for two models
 * with the same bytes are maybe opened at once. */
static void write_whole(const char *path, const char *text)
{
    static const char suffix[] = ".XXXXXX";
    size_t size_bytes = strlen(path) + sizeof suffix;
    char *aside = fm_alloc(size_bytes);
    if (aside == NULL) {
        return;
    }
    (void)snprintf(aside, size_bytes, "%s%s", path, suffix);
    int file = mkostemp(aside, O_CLOEXEC);
    if (file >= 0) {
        ssize_t length = (ssize_t)strlen(text);
        bool written = fchmod(file, FILE_MODE) == 0 && write(file, text, (size_t)length) == length;
        written = close(file) == 0 && written;
        if (!written || rename(aside, path) != 0) {
            (void)unlink(aside);
        }
    }
    fm_free(aside);
}

void fm_trial_file_write(const char *path, const char *build, const fm_trial *trial)
{
    char *text = trial_text(build, trial);
    if (text != NULL) {
        write_whole(path, text);
    }
    free(text); /* jansson's, from malloc() */
}

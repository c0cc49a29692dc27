/* The bit check's memory: one small file a model version, build and CPU type. */
#include "engine/model_bits.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEPENDENT          "independent\n"
#define DEPENDENT            "dependent\n"
#define DIGEST_PREFIX_LENGTH 7 /* "sha256:" */

static void cache_path(const fm_model *model, const char *folder, char *ret, size_t size)
{
    const fm_build_info *build = fm_build();
    (void)snprintf(ret, size, "%s/bits-%.32s-%s-%s-%s-%s-%s", folder,
                   model->version + DIGEST_PREFIX_LENGTH, FM_VERSION, build->dense_provider,
                   build->dense_version, build->kernels, build->cpu);
}

/* True when the cache knows the answer. */
static bool recall(const char *path, bool *ret_independent)
{
    char text[32] = {0};
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) {
        return false;
    }
    ssize_t length = read(file, text, sizeof text - 1);
    (void)close(file);
    *ret_independent = length > 0 && strcmp(text, INDEPENDENT) == 0;
    return *ret_independent || (length > 0 && strcmp(text, DEPENDENT) == 0);
}

/* Written aside and renamed, so that a reader never sees half of it. */
static void remember(const char *folder, const char *path, bool independent)
{
    char temporary[4096 + 32];
    (void)mkdir(folder, 0755); /* its parents are the administrator's */
    (void)snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (file < 0) {
        return;
    }
    const char *text = independent ? INDEPENDENT : DEPENDENT;
    bool written = write(file, text, strlen(text)) == (ssize_t)strlen(text);
    written = close(file) == 0 && written;
    if (!written || rename(temporary, path) != 0) {
        (void)unlink(temporary);
    }
}

fm_status fm_model_check_bits(const fm_model *model, const char *cache_folder,
                              bool *ret_independent, fm_error *err)
{
    char path[4096];
    if (cache_folder != NULL) {
        cache_path(model, cache_folder, path, sizeof path);
        if (recall(path, ret_independent)) {
            return FM_OK;
        }
    }
    int32_t max_label = model->config.has_labels ? model->config.label_count - 1 : 0;
    fm_status status = fm_network_check_bits(model->network, max_label, ret_independent, err);
    if (status == FM_OK && cache_folder != NULL) {
        remember(cache_folder, path, *ret_independent);
    }
    return status;
}

/* Trying a model, or recalling what that told: one small file a model version and CPU type. */
#include "engine/model_trial.h"

#include "engine/checkpoint/trial_file.h"
#include "engine/fm_machine.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define FOLDER_MODE          0755
#define DIGEST_PREFIX_LENGTH 7 /* "sha256:" */
#define BUILD_BYTES          256

/* What else the answers depend on is in the file, so that a new build replaces an old one's. */
static bool cache_path(const fm_model *model, const char *folder, char *ret, size_t size)
{
    const fm_build_info *build = fm_build();
    int length = snprintf(ret, size, "%s/trial-%.32s-%s-%s.json", folder,
                          model->version + DIGEST_PREFIX_LENGTH, build->kernels, build->cpu);
    return length > 0 && (size_t)length < size;
}

static void name_build(char ret[BUILD_BYTES])
{
    const fm_build_info *build = fm_build();
    (void)snprintf(ret, BUILD_BYTES, "%s %s %s %s", FM_VERSION, build->id, build->dense_provider,
                   build->dense_version);
}

static fm_status run_trial(const fm_model *model, fm_trial *ret, fm_error *err)
{
    int32_t max_label = model->config.has_labels ? model->config.label_count - 1 : 0;
    fm_status status =
        fm_network_check_bits(model->network, max_label, &ret->bits_independent, err);
    return status == FM_OK ? fm_model_measure(model, ret, err) : status;
}

fm_status fm_model_try(fm_model *model, const char *cache_folder, fm_error *err)
{
    fm_trial trial = {0};
    char path[PATH_MAX], build[BUILD_BYTES];
    name_build(build);
    bool cached = cache_folder != NULL && cache_path(model, cache_folder, path, sizeof path);
    if (!cached || !fm_trial_file_read(path, build, fm_model_most_tile_rows(model), &trial)) {
        fm_status status = run_trial(model, &trial, err);
        if (status != FM_OK) {
            return status;
        }
        if (cached) {
            (void)mkdir(cache_folder, FOLDER_MODE); /* its parents are the administrator's */
            fm_trial_file_write(path, build, &trial);
        }
    }
    model->tile_rows = trial.tile_rows;
    model->info.bits_promised = trial.bits_independent;
    model->info.evaluation_seconds = trial.row_seconds;
    model->info.call_seconds = trial.call_seconds;
    return FM_OK;
}

#include "server/models.h"

#include "server/log.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_MAX_BYTES 4096

static bool has_config(const char *folder, const char *name)
{
    char path[PATH_MAX_BYTES];
    int length = snprintf(path, sizeof path, "%s/%s/config.json", folder, name);
    return length > 0 && (size_t)length < sizeof path && access(path, F_OK) == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

typedef struct names {
    char **items;
    size_t count;
} names;

static void names_done(names *found)
{
    for (size_t i = 0; i < found->count; i++) {
        free(found->items[i]);
    }
    free(found->items);
}

static fm_status names_add(names *found, const char *name, fm_error *err)
{
    char **items = realloc(found->items, (found->count + 1) * sizeof *items);
    if (items == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory");
    }
    found->items = items;
    items[found->count] = strdup(name);
    if (items[found->count] == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory");
    }
    found->count++;
    return FM_OK;
}

static fm_status names_list(names *found, const char *folder, fm_error *err)
{
    DIR *directory = opendir(folder);
    if (directory == NULL) {
        return fm_fail(err, FM_EIO, "models folder \"%s\": %s", folder, strerror(errno));
    }
    fm_status status = FM_OK;
    for (struct dirent *entry; status == FM_OK && (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.' || !has_config(folder, entry->d_name)) {
            continue;
        }
        status = fm_model_name_is_valid(entry->d_name, strlen(entry->d_name))
                     ? names_add(found, entry->d_name, err)
                     : fm_fail(err, FM_EINVAL,
                               "model folder \"%s\": the name must match " FM_MODEL_NAME_RULE,
                               entry->d_name);
    }
    closedir(directory);
    if (status == FM_OK && found->count > 0) {
        qsort(found->items, found->count, sizeof *found->items, by_name);
    }
    return status;
}

static fm_status check_defaults(const fm_model_info *info, const fmp_limits *limits, fm_error *err)
{
    fmp_problem *problem = calloc(1, sizeof *problem);
    if (problem == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory");
    }
    fm_status status = FM_OK;
    if (!fmp_request_check_defaults(info, limits, problem)) {
        status = fm_fail(err, FM_EINVAL, "%s", problem->detail);
    }
    free(problem);
    return status;
}

static fm_status open_one(fmd_models *models, const char *folder, const char *name,
                          const fm_model_options *options, const fmp_limits *limits, fm_error *err)
{
    char path[PATH_MAX_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    fm_model *model = NULL;
    fm_status status = fm_model_open(path, options, &model, err);
    if (status == FM_OK) {
        models->items[models->count] = model;
        models->described[models->count] = fm_model_describe(model);
        models->count++;
        status = check_defaults(fm_model_describe(model), limits, err);
    }
    if (status != FM_OK) {
        return fm_fail_prefix(err, status, "model \"%s\"", name);
    }
    const fm_model_info *info = fm_model_describe(model);
    fmd_log(FMD_INFO, "model", FMD_TEXT("name", name), FMD_TEXT("architecture", info->architecture),
            FMD_INTEGER("parameters", info->parameter_count),
            FMD_INTEGER("bytes", info->memory_bytes), FMD_TEXT("version", info->version));
    return FM_OK;
}

fm_status fmd_models_open(fmd_models *models, const char *folder, const fm_model_options *options,
                          const fmp_limits *limits, fm_error *err)
{
    *models = (fmd_models){NULL, NULL, 0};
    names found = {NULL, 0};
    fm_status status = names_list(&found, folder, err);
    if (status == FM_OK && found.count > 0) {
        models->items = calloc(found.count, sizeof *models->items);
        models->described = calloc(found.count, sizeof *models->described);
        if (models->items == NULL || models->described == NULL) {
            status = fm_fail(err, FM_ENOMEM, "out of memory");
        }
    }
    for (size_t i = 0; status == FM_OK && i < found.count; i++) {
        status = open_one(models, folder, found.items[i], options, limits, err);
    }
    names_done(&found);
    if (status != FM_OK) {
        fmd_models_done(models);
    } else if (models->count == 0) {
        fmd_log(FMD_WARNING, "no_models", FMD_TEXT("folder", folder));
    }
    return status;
}

void fmd_models_done(fmd_models *models)
{
    for (size_t i = 0; i < models->count; i++) {
        fm_model_unref(models->items[i]);
    }
    free(models->items);
    free(models->described);
    *models = (fmd_models){NULL, NULL, 0};
}

size_t fmd_models_find(const fmd_models *models, const char *name)
{
    for (size_t i = 0; i < models->count; i++) {
        if (strcmp(models->described[i]->name, name) == 0) {
            return i;
        }
    }
    return FMD_NO_MODEL;
}

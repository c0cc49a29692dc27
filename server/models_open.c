/* Opening all models at once: as many threads as there will be workers, each taking the next model. */
#include "server/log.h"
#include "server/models.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define PATH_MAX_BYTES 4096
#define MAX_THREADS    64 /* that open: a disk has no more to give */

/* ---- the folder ---- */

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

/* ---- one model ---- */

static void log_model(const fm_model_info *info)
{
    fmd_log(FMD_INFO, "model", FMD_TEXT("name", info->name),
            FMD_TEXT("architecture", info->architecture),
            FMD_INTEGER("parameters", info->parameter_count),
            FMD_INTEGER("bytes", info->memory_bytes), FMD_TEXT("version", info->version));
}

typedef struct opened {
    const char *name;
    fm_model *model;
    fm_status status;
    fm_error error;
} opened;

/* What the threads share: each writes the items that it took. */
typedef struct opening {
    const char *folder;
    const fm_model_options *options;
    opened *items; /* [count] */
    size_t count;
    atomic_size_t next;
    atomic_bool failed; /* then nobody begins another */
} opening;

static void open_one(const opening *all, opened *it)
{
    char path[PATH_MAX_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", all->folder, it->name);
    it->status = fm_model_open(path, all->options, &it->model, &it->error);
    if (it->status == FM_OK) {
        log_model(fm_model_describe(it->model));
    }
}

/* The thread's main function, also for the calling thread itself. */
static void open_some(void *context)
{
    opening *all = context;
    while (!atomic_load(&all->failed)) {
        size_t index = atomic_fetch_add(&all->next, 1);
        if (index >= all->count) {
            return;
        }
        open_one(all, &all->items[index]);
        if (all->items[index].status != FM_OK) {
            atomic_store(&all->failed, true);
        }
    }
}

/* ---- all models ---- */

static void open_all(opening *all)
{
    uv_thread_t threads[MAX_THREADS];
    size_t count = 0;
    size_t wanted = all->options->workers < all->count ? all->options->workers : all->count;
    while (count + 1 < wanted && count < MAX_THREADS &&
           uv_thread_create(&threads[count], open_some, all) == 0) {
        count++;
    }
    open_some(all); /* alone, where no thread could be had */
    while (count > 0) {
        (void)uv_thread_join(&threads[--count]);
    }
}

/* Moves what was opened over, or tells what was not. A model is begun before all that come after it,
 * so the first broken one of the list is always among those that were tried. */
static fm_status take_all(opening *all, fmd_models *models, fm_error *err)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < all->count; i++) {
        const opened *it = &all->items[i];
        if (it->model != NULL) {
            models->items[models->count] = it->model;
            models->described[models->count] = fm_model_describe(it->model);
            models->count++;
        }
        if (status == FM_OK && it->status != FM_OK) {
            status = it->status;
            *err = it->error;
            (void)fm_fail_prefix(err, status, "model \"%s\"", it->name);
        }
    }
    return status;
}

static fm_status open_named(const names *found, opening *all, fmd_models *models, fm_error *err)
{
    models->items = calloc(found->count, sizeof *models->items);
    models->described = calloc(found->count, sizeof *models->described);
    all->items = calloc(found->count, sizeof *all->items);
    if (models->items == NULL || models->described == NULL || all->items == NULL) {
        free(all->items);
        return fm_fail(err, FM_ENOMEM, "out of memory");
    }
    all->count = found->count;
    for (size_t i = 0; i < found->count; i++) {
        all->items[i].name = found->items[i];
    }
    open_all(all);
    fm_status status = take_all(all, models, err);
    free(all->items);
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
        status = fm_fail(err, FM_EINVAL, "model \"%s\": %s", info->name, problem->detail);
    }
    free(problem);
    return status;
}

/* When all are known, for one model's defaults may name another. */
static fm_status check_all_defaults(const fmd_models *models, const fmp_limits *limits,
                                    fm_error *err)
{
    fmp_limits with_models = *limits;
    with_models.models = models->described;
    with_models.n_models = models->count;
    fm_status status = FM_OK;
    for (size_t i = 0; i < models->count && status == FM_OK; i++) {
        status = check_defaults(models->described[i], &with_models, err);
    }
    return status;
}

fm_status fmd_models_open(fmd_models *models, const char *folder, const fm_model_options *options,
                          const fmp_limits *limits, fm_error *err)
{
    *models = (fmd_models){NULL, NULL, 0};
    names found = {NULL, 0};
    opening all = {.folder = folder, .options = options};
    fm_status status = names_list(&found, folder, err);
    if (status == FM_OK && found.count > 0) {
        status = open_named(&found, &all, models, err);
    }
    if (status == FM_OK) {
        status = check_all_defaults(models, limits, err);
    }
    names_done(&found);
    if (status != FM_OK) {
        fmd_models_done(models);
    } else if (models->count == 0) {
        fmd_log(FMD_WARNING, "no_models", FMD_TEXT("folder", folder));
    }
    return status;
}

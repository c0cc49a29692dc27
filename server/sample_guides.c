#include "server/sample_guides.h"

#include "server/command.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* folder/../name, also where the folder is given as "." */
static bool path_beside(const char *folder, const char *name, char ret[PATH_MAX])
{
    char own[PATH_MAX];
    if (realpath(folder, own) == NULL) {
        return false;
    }
    int length = snprintf(ret, PATH_MAX, "%.*s/%s", (int)(strrchr(own, '/') - own), own, name);
    return length > 0 && length < PATH_MAX;
}

static int open_one(fmd_sample_guides *guides, const char *folder, const char *name,
                    const fm_model_options *options)
{
    char path[PATH_MAX];
    fm_error error = {0};
    if (!fm_model_name_is_valid(name, strlen(name)) || !path_beside(folder, name, path)) {
        return FMD_EXIT_OK;
    }
    fm_model **model = &guides->models[guides->count];
    fm_status status = fm_model_open(path, options, model, &error);
    if (status == FM_ENOTFOUND) { /* the request's parser says so */
        return FMD_EXIT_OK;
    }
    if (status != FM_OK) {
        return fmd_complain(FMD_EXIT_FAILED, "%s: %s", path, error.text);
    }
    guides->described[guides->count++] = fm_model_describe(*model);
    return FMD_EXIT_OK;
}

int fmd_sample_guides_open(fmd_sample_guides *guides, const char *folder, const char *body,
                           const fm_model_options *options)
{
    json_t *root = json_loads(body, 0, NULL);
    json_t *guidance = json_object_get(root, "guidance");
    const char *names[FMD_SAMPLE_GUIDES] = {
        json_string_value(json_object_get(guidance, "model")),
        json_string_value(json_object_get(json_object_get(guidance, "classifier"), "model"))};
    int code = FMD_EXIT_OK;
    for (size_t i = 0; i < FMD_SAMPLE_GUIDES && code == FMD_EXIT_OK; i++) {
        code = names[i] == NULL ? FMD_EXIT_OK : open_one(guides, folder, names[i], options);
    }
    json_decref(root);
    return code;
}

void fmd_sample_guides_name(const fmd_sample_guides *guides, fmp_request *request)
{
    if (request->guide != FMP_NO_MODEL) {
        request->spec.guidance.model = guides->models[request->guide];
    }
    if (request->classifier != FMP_NO_MODEL) {
        request->spec.guidance.classifier = guides->models[request->classifier];
    }
}

void fmd_sample_guides_done(fmd_sample_guides *guides)
{
    for (size_t i = 0; i < guides->count; i++) {
        fm_model_unref(guides->models[i]);
    }
}

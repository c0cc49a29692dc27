#include "server/models.h"

#include <stdlib.h>
#include <string.h>

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

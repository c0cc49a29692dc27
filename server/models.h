/* The models that are served: every sub-folder of the models folder that has a config.json. */
#ifndef FMD_MODELS_H
#define FMD_MODELS_H

#include "engine/fm.h"
#include "proto/request.h"

typedef struct fmd_models {
    fm_model **items;                /* sorted by name */
    const fm_model_info **described; /* [count] of the same */
    size_t count;
} fmd_models;

/* Opens all of them, as many at a time as there will be workers; each is logged when it is open. A broken model, or one whose defaults break the limits, fails the
 * whole, for a daemon that serves less than it was asked to would be found out by its clients.
 * Errors: name the model and the reason; FM_EIO the folder cannot be read. Nothing stays open then. */
FM_MUST_USE fm_status fmd_models_open(fmd_models *models, const char *folder,
                                      const fm_model_options *options, const fmp_limits *limits,
                                      fm_error *err);
void fmd_models_done(fmd_models *models); /* takes a zeroed one */

#define FMD_NO_MODEL SIZE_MAX
/* Index of the model of that name, or FMD_NO_MODEL. */
size_t fmd_models_find(const fmd_models *models, const char *name);

#endif

/* A model is tried once per model version, build and CPU type: are its bits independent of the tile, how
 * many rows should a network call have, what do they cost? The answers are remembered in a cache folder. */
#ifndef FM_MODEL_TRIAL_H
#define FM_MODEL_TRIAL_H

#include "engine/model.h"

/* Fills tile_rows and, of info, bits_promised, evaluation_seconds and call_seconds.
 *   cache_folder  NULL: tried every time. A cache that cannot be read or written only costs time.
 * Errors: FM_ENOMEM. */
FM_MUST_USE fm_status fm_model_try(fm_model *model, const char *cache_folder, fm_error *err);

#endif

/* Whether a model's bits are independent of the tile: checked once per model, build and CPU type, and
 * remembered in a cache folder. */
#ifndef FM_MODEL_BITS_H
#define FM_MODEL_BITS_H

#include "engine/model.h"

/*   cache_folder  NULL: check every time. A cache that cannot be read or written only costs time.
 * Errors: FM_ENOMEM. */
FM_MUST_USE fm_status fm_model_check_bits(const fm_model *model, const char *cache_folder,
                                          bool *ret_independent, fm_error *err);

#endif

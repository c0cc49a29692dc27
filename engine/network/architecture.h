/* The constructors that architecture.def names; network.c alone calls them.
 *
 * All share fm_network_new()'s contract. `weights` is NULL for rows that need no weights file; whether
 * every tensor was used is network.c's business. Where there is one, `ret` may be NULL: tensors are taken
 * and nothing is built. */
#ifndef FM_ARCHITECTURE_H
#define FM_ARCHITECTURE_H

#include "engine/network/network.h"

#define FM_ARCHITECTURE(id, name, needs_weights, constructor)                                      \
    FM_MUST_USE fm_status constructor(const fm_model_config *config, fm_weights *weights,          \
                                      const fm_path *path, fm_network **ret, fm_error *err);
#include "engine/network/architecture.def"
#undef FM_ARCHITECTURE

#endif

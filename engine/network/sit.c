/* Not served yet: refused by name. */
#include "engine/network/architecture.h"

fm_status fm_sit_new(const fm_model_config *config, fm_weights *weights, const fm_path *path,
                     fm_network **ret, fm_error *err)
{
    (void)weights, (void)path, (void)ret;
    return fm_fail(err, FM_EUNSUPPORTED,
                   "/network/architecture: \"%s\" is not supported by this release",
                   fm_architecture_name(config->architecture));
}

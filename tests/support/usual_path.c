#include "tests/support/usual_path.h"

#include <check.h>

fm_path usual_path(const char *name, double source_std)
{
    const fm_path_type *type = fm_path_type_find(name);
    double parameters[FM_PATH_MAX_PARAMETERS] = {0};
    const char *parameter = NULL;
    ck_assert_msg(type != NULL, "no scheduler %s", name);
    for (size_t i = 0; fm_path_type_parameter(type, i, &parameter, &parameters[i]); i++) {
    }
    fm_path path;
    ck_assert_int_eq(fm_path_init(&path, type, parameters, NULL, source_std, NULL), FM_OK);
    return path;
}

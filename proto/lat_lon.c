/* Degrees and unit vectors. */
#include "proto/lat_lon.h"

#include <math.h>

#define DEGREE (3.14159265358979323846 / 180)

static bool is_all(const fm_model_info *model, fm_space_id id)
{
    const fm_space *space = model->geometry;
    return !space->is_product && space->parts[0].id == id;
}

bool fmp_model_is_on_globe(const fm_model_info *model)
{
    return is_all(model, FM_SPACE_SPHERE) && model->geometry->parts[0].n == 3;
}

bool fmp_model_is_text(const fm_model_info *model)
{
    return is_all(model, FM_SPACE_TOKENS);
}

fmp_lat_lon fmp_lat_lon_of(const float *vector)
{
    double x = (double)vector[0], y = (double)vector[1], z = (double)vector[2];
    return (fmp_lat_lon){.lat = (float)(atan2(z, hypot(x, y)) / DEGREE),
                         .lon = (float)(atan2(y, x) / DEGREE)};
}

void fmp_lat_lon_vector(double lat, double lon, double *ret)
{
    ret[0] = cos(lat * DEGREE) * cos(lon * DEGREE);
    ret[1] = cos(lat * DEGREE) * sin(lon * DEGREE);
    ret[2] = sin(lat * DEGREE);
}

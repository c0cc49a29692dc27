/* Points of the sphere as people write places on earth: degrees of latitude, north of the equator, and of longitude, east
 * of the prime meridian. The unit vector is [cos lat cos lon, cos lat sin lon, sin lat]. */
#ifndef FMP_LAT_LON_H
#define FMP_LAT_LON_H

#include "engine/fm.h"

typedef struct fmp_lat_lon {
    float lat, lon; /* -90 ... 90, -180 ... 180 */
} fmp_lat_lon;

/* Whether the model's points are unit vectors of three numbers, and nothing else. */
bool fmp_model_is_on_globe(const fm_model_info *model);
/* Whether its points are tokens, all of them. */
bool fmp_model_is_text(const fm_model_info *model);

fmp_lat_lon fmp_lat_lon_of(const float *vector);
void fmp_lat_lon_vector(double lat, double lon, double *ret);

#endif

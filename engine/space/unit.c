/* What several kinds of points share: quotients that are smooth where their parts vanish. */
#include "engine/space/unit.h"

#include <math.h>

#define SMALL 1e-4 /* below it the next term of a series is less than a double shows */

double fm_unit_sine_over(double theta)
{
    return fabs(theta) < SMALL ? 1 - theta * theta / 6 : sin(theta) / theta;
}

double fm_unit_over_sine(double theta)
{
    return 1 / fm_unit_sine_over(theta);
}

/* What several kinds of points share: quotients that are smooth where their parts vanish, and what is nothing but a copy. */
#include "engine/space/unit.h"

#include <math.h>
#include <string.h>

#define SMALL 1e-4 /* below it the next term of a series is less than a double shows */

double fm_unit_sine_over(double theta)
{
    return fabs(theta) < SMALL ? 1 - theta * theta / 6 : sin(theta) / theta;
}

double fm_unit_over_sine(double theta)
{
    return 1 / fm_unit_sine_over(theta);
}

void fm_unit_copy(const fm_space_part *part, const double *x, double *ret)
{
    memcpy(ret, x, part->n * sizeof *ret);
}

void fm_unit_copy_at(const fm_space_part *part, const double *x, const double *from, double *ret)
{
    (void)x;
    fm_unit_copy(part, from, ret);
}

double fm_unit_no_rest(const fm_space_part *part, const double *x, const double *output)
{
    (void)part;
    (void)x;
    (void)output;
    return 0;
}

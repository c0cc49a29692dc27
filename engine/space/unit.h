/* What a kind of point knows: a row of space.def. For engine/space alone; space.c walks over parts and copies.
 *
 * All functions are about one point. Sizes depend on the part alone. Rules of fm_space_ functions of the same name hold
 * (space.h); where arguments may overlap is said there. Scratch is on the stack: points are small, and those that need
 * not be (Euclidean, on a sphere or in a ball) do without. */
#ifndef FM_UNIT_H
#define FM_UNIT_H

#include "engine/space/space.h"

typedef struct fm_unit_sizes {
    size_t states, inputs, outputs, velocities, dimensions;
    size_t draws; /* of each kind, for a point of the source */
} fm_unit_sizes;

typedef struct fm_unit_type {
    const char *rule;   /* "must be a unit vector" */
    unsigned sources;   /* bits 1 << fm_source_id */
    size_t least, most; /* of part->n */
    fm_unit_sizes (*sizes)(const fm_space_part *part);
    /* False, and x as it was, where it is too far off to be meant. */
    bool (*accept)(const fm_space_part *part, double *x, double slack);
    void (*exp)(const fm_space_part *part, const double *x, const double *u, double *y);
    void (*log)(const fm_space_part *part, const double *x, const double *y, double *u);
    double (*distance)(const fm_space_part *part, const double *x, const double *y);
    void (*project)(const fm_space_part *part, double *x); /* the nearest point, in place */
    /* NULL: the chart is flat, slopes stay as they are. */
    void (*pull)(const fm_space_part *part, const double *x, const double *u, double *v);
    void (*input)(const fm_space_part *part, const double *x, double *ret);
    void (*velocity)(const fm_space_part *part, const double *x, const double *output, double *v);
    void (*push)(const fm_space_part *part, const double *x, const double *coordinates,
                 double *ret);
    void (*coordinates)(const fm_space_part *part, const double *x, const double *output,
                        double *ret);
    double (*rest)(const fm_space_part *part, const double *x, const double *output);
    void (*draw)(const fm_space_part *part, double scale, const double *normals,
                 const double *uniforms, double *ret);
    double (*source_log_density)(const fm_space_part *part, double scale, const double *x);
} fm_unit_type;

#define FM_SPACE(ID, name, axes, unit) extern const fm_unit_type unit;
#include "engine/space/space.def"
#undef FM_SPACE

#define FM_PI             3.14159265358979323846
#define FM_LOG_TWO_PI     1.83787706640934548356
#define FM_SOURCE_BIT(ID) (1U << (unsigned)FM_SOURCE_##ID)

/* ---- unit.c: what several kinds share ---- */

static inline double fm_unit_dot(size_t n, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* theta / sin theta, with its limit at 0. */
double fm_unit_over_sine(double theta);
/* sin theta / theta. */
double fm_unit_sine_over(double theta);

/* `input`, and `velocity`, `push` and `coordinates`, where a network takes and gives the own numbers. */
void fm_unit_copy(const fm_space_part *part, const double *x, double *ret);
void fm_unit_copy_at(const fm_space_part *part, const double *x, const double *from, double *ret);
/* `rest` where volume is that of the coordinates. */
double fm_unit_no_rest(const fm_space_part *part, const double *x, const double *output);

#endif

/* Tokens: a number that stands for one of a vocabulary. There is no way from one to another but a jump, so that steps
 * leave them alone, and a network's logits go to the solver as they are. The mask, where there is one, is the last. */
#include "engine/space/unit.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static fm_unit_sizes sizes(const fm_space_part *part)
{
    bool is_one_hot = part->representation == FM_REPRESENTATION_ONE_HOT;
    return (fm_unit_sizes){.states = 1,
                           .inputs = is_one_hot ? part->vocabulary : 1,
                           .outputs = part->vocabulary,
                           .velocities = part->vocabulary,
                           .dimensions = 0,
                           .draws = 1};
}

static bool accept(const fm_space_part *part, double *x, double slack)
{
    (void)slack;
    return *x >= 0 && *x < (double)part->vocabulary && floor(*x) == *x;
}

static void stay(const fm_space_part *part, const double *x, const double *u, double *y)
{
    (void)part;
    (void)u;
    *y = *x;
}

static void nothing_between(const fm_space_part *part, const double *x, const double *y, double *u)
{
    (void)part;
    (void)x;
    (void)y;
    *u = 0;
}

static double distance(const fm_space_part *part, const double *x, const double *y)
{
    (void)part;
    return *x == *y ? 0 : 1;
}

static void project(const fm_space_part *part, double *x)
{
    *x = fmin(fmax(round(*x), 0), (double)part->vocabulary - 1);
}

static void input(const fm_space_part *part, const double *x, double *ret)
{
    if (part->representation != FM_REPRESENTATION_ONE_HOT) {
        *ret = *x;
        return;
    }
    memset(ret, 0, part->vocabulary * sizeof *ret);
    ret[(size_t)*x] = 1;
}

static void velocity(const fm_space_part *part, const double *x, const double *output, double *v)
{
    (void)x;
    memcpy(v, output, part->vocabulary * sizeof *v);
}

static void push(const fm_space_part *part, const double *x, const double *coordinates, double *ret)
{
    (void)x;
    (void)coordinates;
    memset(ret, 0, sizes(part).inputs * sizeof *ret);
}

static void no_coordinates(const fm_space_part *part, const double *x, const double *output,
                           double *ret)
{
    (void)part;
    (void)x;
    (void)output;
    (void)ret;
}

static void draw(const fm_space_part *part, double scale, const double *normals,
                 const double *uniforms, double *ret)
{
    (void)scale;
    (void)normals;
    double last = (double)part->vocabulary - 1;
    bool is_mask = part->source.id == FM_SOURCE_MASK;
    *ret = is_mask ? last : fmin(floor(*uniforms * (double)part->vocabulary), last);
}

static double source_log_density(const fm_space_part *part, double scale, const double *x)
{
    (void)scale;
    if (part->source.id == FM_SOURCE_MASK) {
        return *x == (double)part->vocabulary - 1 ? 0 : -(double)INFINITY;
    }
    return -log((double)part->vocabulary);
}

const fm_unit_type fm_unit_tokens = {.rule = "must be a whole number of the vocabulary",
                                     .sources = FM_SOURCE_BIT(MASK) | FM_SOURCE_BIT(UNIFORM_TOKENS),
                                     .least = 1,
                                     .most = 1,
                                     .sizes = sizes,
                                     .accept = accept,
                                     .exp = stay,
                                     .log = nothing_between,
                                     .distance = distance,
                                     .project = project,
                                     .input = input,
                                     .velocity = velocity,
                                     .push = push,
                                     .coordinates = no_coordinates,
                                     .rest = fm_unit_no_rest,
                                     .draw = draw,
                                     .source_log_density = source_log_density};

/* Frames: a rotation, then a translation, side by side. Volume: the product of both. Geodesics turn and shift at once,
 * each in its own space. Of centred frames space.c takes the mean off. */
#include "engine/space/unit.h"

#include <math.h>

/* The translation of a frame, as a part of its own. */
static fm_space_part shift_of(const fm_space_part *part)
{
    fm_space_part shift = *part;
    shift.id = FM_SPACE_EUCLIDEAN;
    shift.n = 3;
    return shift;
}

/* Where the translation is among a frame's numbers, inputs and outputs. */
#define SHIFT 4
static size_t shift_input(const fm_space_part *part)
{
    return fm_unit_so3.sizes(part).inputs;
}

static size_t shift_output(const fm_space_part *part)
{
    return fm_unit_so3.sizes(part).outputs;
}

static fm_unit_sizes sizes(const fm_space_part *part)
{
    fm_unit_sizes ret = fm_unit_so3.sizes(part);
    size_t *all[] = {&ret.states,     &ret.inputs,     &ret.outputs,
                     &ret.velocities, &ret.dimensions, &ret.draws};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i] += 3;
    }
    return ret;
}

static bool accept(const fm_space_part *part, double *x, double slack)
{
    return fm_unit_so3.accept(part, x, slack);
}

static void move(const fm_space_part *part, const double *x, const double *u, double *y)
{
    const fm_space_part shift = shift_of(part);
    fm_unit_so3.exp(part, x, u, y);
    fm_unit_euclidean.exp(&shift, x + SHIFT, u + SHIFT, y + SHIFT);
}

static void difference(const fm_space_part *part, const double *x, const double *y, double *u)
{
    const fm_space_part shift = shift_of(part);
    fm_unit_so3.log(part, x, y, u);
    fm_unit_euclidean.log(&shift, x + SHIFT, y + SHIFT, u + SHIFT);
}

static double distance(const fm_space_part *part, const double *x, const double *y)
{
    const fm_space_part shift = shift_of(part);
    return hypot(fm_unit_so3.distance(part, x, y),
                 fm_unit_euclidean.distance(&shift, x + SHIFT, y + SHIFT));
}

static void project(const fm_space_part *part, double *x)
{
    fm_unit_so3.project(part, x);
}

static void pull(const fm_space_part *part, const double *x, const double *u, double *v)
{
    fm_unit_so3.pull(part, x, u, v);
}

static void input(const fm_space_part *part, const double *x, double *ret)
{
    const fm_space_part shift = shift_of(part);
    fm_unit_so3.input(part, x, ret);
    fm_unit_euclidean.input(&shift, x + SHIFT, ret + shift_input(part));
}

static void velocity(const fm_space_part *part, const double *x, const double *output, double *v)
{
    const fm_space_part shift = shift_of(part);
    fm_unit_so3.velocity(part, x, output, v);
    fm_unit_euclidean.velocity(&shift, x + SHIFT, output + shift_output(part), v + SHIFT);
}

static void push(const fm_space_part *part, const double *x, const double *coordinates, double *ret)
{
    const fm_space_part shift = shift_of(part);
    fm_unit_so3.push(part, x, coordinates, ret);
    fm_unit_euclidean.push(&shift, x + SHIFT, coordinates + 3, ret + shift_input(part));
}

static void coordinates(const fm_space_part *part, const double *x, const double *output,
                        double *ret)
{
    const fm_space_part shift = shift_of(part);
    fm_unit_so3.coordinates(part, x, output, ret);
    fm_unit_euclidean.coordinates(&shift, x + SHIFT, output + shift_output(part), ret + 3);
}

static double rest(const fm_space_part *part, const double *x, const double *output)
{
    return fm_unit_so3.rest(part, x, output);
}

static void draw(const fm_space_part *part, double scale, const double *normals,
                 const double *uniforms, double *ret)
{
    const fm_space_part shift = shift_of(part);
    fm_unit_so3.draw(part, scale, normals, uniforms, ret);
    fm_unit_euclidean.draw(&shift, scale, normals + SHIFT, uniforms + SHIFT, ret + SHIFT);
}

static double source_log_density(const fm_space_part *part, double scale, const double *x)
{
    const fm_space_part shift = shift_of(part);
    return fm_unit_so3.source_log_density(part, scale, x) +
           fm_unit_euclidean.source_log_density(&shift, scale, x + SHIFT);
}

const fm_unit_type fm_unit_se3 = {.rule = "must be a unit quaternion [w, x, y, z], then a shift",
                                  .sources = FM_SOURCE_BIT(NORMAL),
                                  .least = 7,
                                  .most = 7,
                                  .sizes = sizes,
                                  .accept = accept,
                                  .exp = move,
                                  .log = difference,
                                  .distance = distance,
                                  .project = project,
                                  .pull = pull,
                                  .input = input,
                                  .velocity = velocity,
                                  .push = push,
                                  .coordinates = coordinates,
                                  .rest = rest,
                                  .draw = draw,
                                  .source_log_density = source_log_density};

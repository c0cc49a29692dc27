/* Spaces from their parts: the tables, the sizes, and the walks over parts and copies. */
#include "engine/space/space.h"

#include "engine/name.h"
#include "engine/space/unit.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char *const space_names[FM_N_SPACES] = {
#define FM_SPACE(ID, name, axes, unit) name,
#include "engine/space/space.def"
#undef FM_SPACE
};

static const size_t space_axes[FM_N_SPACES] = {
#define FM_SPACE(ID, name, axes, unit) axes,
#include "engine/space/space.def"
#undef FM_SPACE
};

static const fm_unit_type *const units[FM_N_SPACES] = {
#define FM_SPACE(ID, name, axes, unit) &unit,
#include "engine/space/space.def"
#undef FM_SPACE
};

static const char *const source_names[FM_N_SOURCES] = {
#define FM_SOURCE(ID, name) name,
#include "engine/space/source.def"
#undef FM_SOURCE
};

const char *fm_space_name(fm_space_id id)
{
    return space_names[id];
}

fm_space_id fm_space_find(const char *name)
{
    return (fm_space_id)fm_name_find(space_names, FM_N_SPACES, name);
}

size_t fm_space_axes(fm_space_id id)
{
    return space_axes[id];
}

const char *fm_source_name(fm_source_id id)
{
    return source_names[id];
}

fm_source_id fm_source_find(const char *name)
{
    return (fm_source_id)fm_name_find(source_names, FM_N_SOURCES, name);
}

bool fm_source_is_of(fm_source_id source, fm_space_id space)
{
    return source == FM_SOURCE_EXTERNAL || (units[space]->sources & 1U << (unsigned)source) != 0;
}

size_t fm_space_point_numbers(const fm_space_part *part)
{
    return units[part->id]->sizes(part).states;
}

/* ---- sizes ---- */

static fm_status check_part(const fm_space_part *part, fm_error *err)
{
    const fm_unit_type *unit = units[part->id];
    if (part->n < unit->least || part->n > unit->most) {
        char most[32];
        (void)snprintf(most, sizeof most, " to %zu", unit->most);
        return fm_fail(err, FM_EINVAL,
                       "a point of %s must have %zu%s numbers along an axis, found %zu",
                       space_names[part->id], unit->least,
                       unit->most == unit->least ? ""
                       : unit->most == SIZE_MAX  ? " or more"
                                                 : most,
                       part->n);
    }
    return FM_OK;
}

static fm_status add_bins(fm_space *space, fm_error *err)
{
    size_t n = space->bins.n;
    if (n == 0) {
        return FM_OK;
    }
    if (!space->is_flat || n > FM_MAX_BINS || space->states > SIZE_MAX / 64 / (n + 2)) {
        return fm_fail(err, FM_EINVAL, "%zu bins need Euclidean points, not too many", n);
    }
    space->outputs = space->velocities = space->states * (n + 2);
    return FM_OK;
}

fm_status fm_space_init(fm_space *space, fm_error *err)
{
    space->states = space->inputs = space->outputs = space->velocities = space->dimensions = 0;
    space->is_external = false;
    for (size_t i = 0; i < space->n_parts; i++) {
        const fm_space_part *part = &space->parts[i];
        fm_status status = check_part(part, err);
        if (status != FM_OK) {
            return status;
        }
        fm_unit_sizes of_point = units[part->id]->sizes(part);
        size_t widest = of_point.outputs > of_point.inputs ? of_point.outputs : of_point.inputs;
        if (part->copies > SIZE_MAX / 64 / FM_SPACE_MAX_PARTS / widest) {
            return fm_fail(err, FM_EINVAL, "%zu points of %zu outputs are too many", part->copies,
                           of_point.outputs);
        }
        space->states += part->copies * of_point.states;
        space->inputs += part->copies * of_point.inputs;
        space->outputs += part->copies * of_point.outputs;
        space->velocities += part->copies * of_point.velocities;
        space->dimensions += part->copies * of_point.dimensions;
        space->is_external |= part->source.id == FM_SOURCE_EXTERNAL;
    }
    space->is_flat = !space->is_product && space->parts[0].id == FM_SPACE_EUCLIDEAN;
    return add_bins(space, err);
}

fm_space fm_space_euclidean(size_t n)
{
    fm_space ret = {.parts = {{.id = FM_SPACE_EUCLIDEAN, .n = n, .copies = 1}}, .n_parts = 1};
    ret.parts[0].source = (fm_source){.id = FM_SOURCE_NORMAL, .std = 1};
    ret.states = ret.inputs = ret.outputs = ret.velocities = ret.dimensions = n;
    ret.is_flat = true;
    return ret;
}

/* ---- the walk ---- */

/* A point of a part, and where its numbers begin. */
typedef struct place {
    const fm_space_part *part;
    const fm_unit_type *unit;
    fm_unit_sizes sizes;
    size_t part_index, copy;
    size_t state, input, output, velocity, coordinate, draw;
} place;

static bool enter(const fm_space *space, place *at)
{
    if (at->part_index == space->n_parts) {
        return false;
    }
    at->part = &space->parts[at->part_index];
    at->unit = units[at->part->id];
    at->sizes = at->unit->sizes(at->part);
    at->copy = 0;
    return true;
}

static bool next(const fm_space *space, place *at)
{
    at->state += at->sizes.states;
    at->input += at->sizes.inputs;
    at->output += at->sizes.outputs;
    at->velocity += at->sizes.velocities;
    at->coordinate += at->sizes.dimensions;
    at->draw += at->sizes.draws;
    if (++at->copy < at->part->copies) {
        return true;
    }
    at->part_index++;
    return enter(space, at);
}

/* for (EACH_POINT(space, at)): at.part and at.unit are of a point. */
#define EACH_POINT(space, at)                                                                      \
    place at = {0}, *at##_more = enter((space), &at) ? &at : NULL;                                 \
    at##_more != NULL;                                                                             \
    at##_more = next((space), &at) ? &at : NULL

/* ---- centred translations ---- */

/* Which of the walk's places the numbers of a translation are at, and how far into a point's numbers. */
typedef enum translation { OF_STATES, OF_VELOCITIES, OF_COORDINATES } translation;

/* Takes the mean of three numbers of each of `copies` points off them. */
static void remove_mean(size_t copies, size_t stride, double *first)
{
    for (size_t axis = 0; axis < 3; axis++) {
        double sum = 0;
        for (size_t i = 0; i < copies; i++) {
            sum += first[i * stride + axis];
        }
        for (size_t i = 0; i < copies; i++) {
            first[i * stride + axis] -= sum / (double)copies;
        }
    }
}

/* Where a part is centred, its translations or slopes are projected to those of mean zero. The divergence follows: over
 * all coordinates the trace of a projection times J is its trace on the subspace. */
static void centre(const fm_space *space, translation which, double *values)
{
    for (EACH_POINT(space, at)) {
        if (at.copy > 0 || !at.part->source.centered) {
            continue;
        }
        const size_t firsts[] = {at.state + 4, at.velocity + 4, at.coordinate + 3};
        const size_t strides[] = {at.sizes.states, at.sizes.velocities, at.sizes.dimensions};
        remove_mean(at.part->copies, strides[which], values + firsts[which]);
    }
}

/* ---- points ---- */

bool fm_space_accept(const fm_space *space, double *x, const char **ret_rule, size_t *ret_at)
{
    for (EACH_POINT(space, at)) {
        if (!at.unit->accept(at.part, x + at.state, FM_SPACE_POINT_SLACK)) {
            *ret_rule = at.unit->rule;
            *ret_at = at.state;
            return false;
        }
    }
    centre(space, OF_STATES, x);
    return true;
}

void fm_space_normalise(const fm_space *space, double *x)
{
    for (EACH_POINT(space, at)) { /* what rounding took off its space stays as it is, alone */
        (void)at.unit->accept(at.part, x + at.state, HUGE_VAL);
    }
    centre(space, OF_STATES, x);
}

void fm_space_exp(const fm_space *space, const double *x, const double *u, double *y)
{
    for (EACH_POINT(space, at)) {
        at.unit->exp(at.part, x + at.state, u + at.state, y + at.state);
    }
}

void fm_space_log(const fm_space *space, const double *x, const double *y, double *u)
{
    for (EACH_POINT(space, at)) {
        at.unit->log(at.part, x + at.state, y + at.state, u + at.state);
    }
}

double fm_space_distance(const fm_space *space, const double *x, const double *y)
{
    double square = 0;
    for (EACH_POINT(space, at)) {
        double part = at.unit->distance(at.part, x + at.state, y + at.state);
        square += part * part;
    }
    return sqrt(square);
}

void fm_space_project_step(const fm_space *space, const double *x, const double *u, double *y)
{
    for (size_t i = 0; i < space->states; i++) {
        y[i] = x[i] + u[i];
    }
    for (EACH_POINT(space, at)) {
        at.unit->project(at.part, y + at.state);
    }
}

void fm_space_pull(const fm_space *space, const double *x, const double *u, double *v)
{
    for (EACH_POINT(space, at)) {
        if (at.unit->pull != NULL) {
            at.unit->pull(at.part, x + at.state, u + at.state, v + at.velocity);
        }
    }
}

void fm_space_between(const fm_space *space, const double *x, const double *y, double s,
                      double *ret)
{
    fm_space_log(space, x, y, ret);
    for (size_t i = 0; i < space->states; i++) {
        ret[i] *= s;
    }
    for (EACH_POINT(space, at)) { /* a step from x, written over itself */
        at.unit->exp(at.part, x + at.state, ret + at.state, ret + at.state);
    }
}

/* ---- the network's side ---- */

void fm_space_input(const fm_space *space, const double *x, double *ret)
{
    for (EACH_POINT(space, at)) {
        at.unit->input(at.part, x + at.state, ret + at.input);
    }
}

void fm_space_velocity(const fm_space *space, const double *x, const double *output, double *v)
{
    for (EACH_POINT(space, at)) {
        at.unit->velocity(at.part, x + at.state, output + at.output, v + at.velocity);
    }
    centre(space, OF_VELOCITIES, v);
}

void fm_space_turn(const fm_space *space, double factor, double *v)
{
    for (EACH_POINT(space, at)) {
        bool turns = factor != 1 && at.part->id != FM_SPACE_TOKENS;
        for (size_t i = 0; turns && i < at.sizes.velocities; i++) {
            v[at.velocity + i] *= factor;
        }
    }
}

void fm_space_push(const fm_space *space, const double *x, const double *coordinates, double *ret)
{
    for (EACH_POINT(space, at)) {
        at.unit->push(at.part, x + at.state, coordinates + at.coordinate, ret + at.input);
    }
}

void fm_space_coordinates(const fm_space *space, const double *x, const double *output, double *ret)
{
    for (EACH_POINT(space, at)) {
        at.unit->coordinates(at.part, x + at.state, output + at.output, ret + at.coordinate);
    }
    centre(space, OF_COORDINATES, ret);
}

double fm_space_divergence_rest(const fm_space *space, const double *x, const double *output)
{
    double sum = 0;
    for (EACH_POINT(space, at)) {
        sum += at.unit->rest(at.part, x + at.state, output + at.output);
    }
    return sum;
}

/* ---- sources ---- */

size_t fm_space_draws(const fm_space *space)
{
    size_t total = 0;
    for (size_t i = 0; i < space->n_parts; i++) {
        const fm_space_part *part = &space->parts[i];
        total += part->copies * units[part->id]->sizes(part).draws;
    }
    return total;
}

void fm_space_draw(const fm_space *space, double scale, const double *normals,
                   const double *uniforms, double *ret)
{
    for (EACH_POINT(space, at)) {
        at.unit->draw(at.part, scale, normals + at.draw, uniforms + at.draw, ret + at.state);
    }
    centre(space, OF_STATES, ret);
}

double fm_space_source_log_density(const fm_space *space, double scale, const double *x)
{
    double sum = 0;
    for (EACH_POINT(space, at)) {
        sum += at.unit->source_log_density(at.part, scale, x + at.state);
        if (at.copy == 0 && at.part->source.centered) { /* three directions have no density */
            sum += 3 * (0.5 * FM_LOG_TWO_PI + log(at.part->source.std * scale));
        }
    }
    return space->is_external ? (double)NAN : sum;
}

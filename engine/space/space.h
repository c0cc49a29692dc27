/* Spaces: where the states of a flow live, and what a step, a draw and a divergence are there.
 *
 * A space is a list of parts (one, but for a product), a part so many independent points of one kind, a row of
 * space.def. Everything is done point by point; what a kind knows is in its fm_unit_type (unit.h).
 *
 *   state    what the solver moves and the wire carries, float64, row-major, part after part
 *   slope    dx/dt: of the state's shape, tangent to the space at x (of a quaternion q: dq/dt)
 *   input    what the network is fed of a state, float32 on its way in: the state itself, or of a rotation its matrix
 *   output   what the network answers with: ambient numbers, which become a slope by projection
 *   coordinates  of a slope in an orthonormal basis of the tangent space at x; as many as the space has dimensions
 *
 * Steps. In the chart exp_x of the step's start the flow is an equation in the flat tangent space there,
 *
 *     u' = (d exp_x at u)^-1 v(exp_x(u)),   u(0) = 0,
 *
 * so that every Runge-Kutta method keeps its order, its error estimate and its dense output on any space. With projected
 * steps the stage is project(x + u) instead, and the slopes are added as they are; as they depend on the projection of
 * the stage alone this is the method on an equation around the space, and keeps its order, too.
 * Source: Lipman et al., arXiv:2412.06264, section 5; Hairer, Lubich and Wanner, "Geometric Numerical Integration", IV.4
 * (projection) and IV.8 (local coordinates).
 *
 * Divergence. With respect to the volume that densities are with respect to (per kind in unit_*.c),
 *
 *     div v(x) = sum_k coordinates(J push(e_k))_k + rest(x, output),   J the network's Jacobian,
 *
 * where the rest is what the curvature of the projection adds.
 *
 * Threads: any; a space is read-only. */
#ifndef FM_SPACE_H
#define FM_SPACE_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum fm_space_id {
#define FM_SPACE(ID, name, axes, unit) FM_SPACE_##ID,
#include "engine/space/space.def"
#undef FM_SPACE
    FM_N_SPACES,
} fm_space_id;

typedef enum fm_source_id {
#define FM_SOURCE(ID, name) FM_SOURCE_##ID,
#include "engine/space/source.def"
#undef FM_SOURCE
    FM_N_SOURCES,
} fm_source_id;

typedef struct fm_source {
    fm_source_id id;
    double std;    /* NORMAL, WRAPPED_NORMAL; > 0 */
    bool centered; /* SE3: translations have mean zero, and so have their slopes */
} fm_source;

/* How a network sees a rotation. */
typedef enum fm_representation {
    FM_REPRESENTATION_QUATERNION, /* 4 numbers in; 4 out, dq/dt before its projection */
    FM_REPRESENTATION_MATRIX, /* 9 in, row-major; 3 out, the angular velocity in the body's frame */
} fm_representation;

typedef struct fm_space_part {
    fm_space_id id;
    size_t n;                         /* numbers of a point on the wire; SPD: rows of the matrix */
    size_t copies;                    /* points; of tokens, their number */
    fm_representation representation; /* SO3, SE3 */
    size_t vocabulary;                /* TOKENS: values of a token, the mask included */
    fm_source source;
} fm_space_part;

#define FM_SPACE_MAX_PARTS    8
#define FM_SPACE_MAX_SPD_ROWS 16
#define FM_SPACE_POINT_SLACK                                                                       \
    1e-3 /* a client's point may be off its space by so much: it is rounded text */

typedef struct fm_space {
    fm_space_part parts[FM_SPACE_MAX_PARTS];
    size_t n_parts;
    bool is_product; /* as config.json says it */
    bool is_flat;    /* Euclidean with noise about 0, all of it: x + u will do */
    size_t states, inputs, outputs, dimensions; /* sums over the parts */
} fm_space;

const char *fm_space_name(fm_space_id id);
fm_space_id fm_space_find(const char *name); /* FM_N_SPACES when there is none */
size_t fm_space_axes(fm_space_id id);
const char *fm_source_name(fm_source_id id);
fm_source_id fm_source_find(const char *name); /* FM_N_SOURCES when there is none */
/* Whether points of this kind can be drawn so. */
bool fm_source_is_of(fm_source_id source, fm_space_id space);

/* Sums up what the parts are, once `parts`, `n_parts` and `is_product` are set.
 * Errors: FM_EINVAL a size is out of its range (a sphere has at least 2 numbers, so3 4, se3 7, spd at most
 *         FM_SPACE_MAX_SPD_ROWS rows); the text says it. */
FM_MUST_USE fm_status fm_space_init(fm_space *space, fm_error *err);

/* ---- points ---- */

/* Whether every point of x [states] is one of the space, within FM_SPACE_POINT_SLACK, made exact in place (unit length,
 * angles in [0, 2 pi), w >= 0, symmetric). False: *ret_rule says what a point must be ("must be a unit vector"), and
 * *ret_at is the first number of the first that is not. */
bool fm_space_accept(const fm_space *space, double *x, const char **ret_rule, size_t *ret_at);
/* As they go out: like accept, of points that are on the space but for rounding. */
void fm_space_normalise(const fm_space *space, double *x);

/* y = exp_x(u), on the space; y may be x, not u. */
void fm_space_exp(const fm_space *space, const double *x, const double *u, double *y);
/* The shortest u with exp_x(u) = y, in [0, pi) where there is a choice. */
void fm_space_log(const fm_space *space, const double *x, const double *y, double *u);
double fm_space_distance(const fm_space *space, const double *x, const double *y);
/* y = the projection of x + u; y may be x or u. */
void fm_space_project_step(const fm_space *space, const double *x, const double *u, double *y);
/* v, a slope at exp_x(u), becomes (d exp_x at u)^-1 v, a slope in the chart at x; in place. */
void fm_space_pull(const fm_space *space, const double *x, const double *u, double *v);
/* The point at share s of the way from x to y: exp_x(s log_x(y)). */
void fm_space_between(const fm_space *space, const double *x, const double *y, double s,
                      double *ret);

/* ---- the network's side ---- */

void fm_space_input(const fm_space *space, const double *x, double *ret); /* [inputs] */
/* The slope that an output stands for: its projection to the tangent space at x. v [states] may not be output. */
void fm_space_velocity(const fm_space *space, const double *x, const double *output, double *v);
/* The input's tangent [inputs] along the slope with these coordinates [dimensions]. */
void fm_space_push(const fm_space *space, const double *x, const double *coordinates, double *ret);
/* The coordinates [dimensions] of the slope that an output [outputs] stands for. */
void fm_space_coordinates(const fm_space *space, const double *x, const double *output,
                          double *ret);
double fm_space_divergence_rest(const fm_space *space, const double *x, const double *output);

/* ---- sources ---- */

/* x0 from standard normals and uniforms in (0, 1), [draws] each, where draws = fm_space_draws(); the Euclidean parts and
 * translations times `scale`, the path's sigma there. */
size_t fm_space_draws(const fm_space *space);
void fm_space_draw(const fm_space *space, double scale, const double *normals,
                   const double *uniforms, double *ret);
/* In nats, with respect to the volume that the unit says. NAN of an external source. */
double fm_space_source_log_density(const fm_space *space, double scale, const double *x);

#endif

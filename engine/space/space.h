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

#include "engine/fm_space.h"

/* Sums up what the parts are, once `parts`, `n_parts` and `is_product` are set.
 * Errors: FM_EINVAL a size is out of its range (a sphere has at least 2 numbers, so3 4, se3 7, spd at most
 *         FM_SPACE_MAX_SPD_ROWS rows); the text says it. */
FM_MUST_USE fm_status fm_space_init(fm_space *space, fm_error *err);

/* n numbers in flat space. */
fm_space fm_space_euclidean(size_t n);

/* ---- steps ---- */

/* y = exp_x(u), on the space; y may be x or u. */
void fm_space_exp(const fm_space *space, const double *x, const double *u, double *y);
/* The shortest u with exp_x(u) = y; angles in [-pi, pi), and to an antipode always the same of many. u is neither. */
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
/* A velocity times `factor`; of tokens the logits stay: whichever way time runs, they say what will be. */
void fm_space_turn(const fm_space *space, double factor, double *v);
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

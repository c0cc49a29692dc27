/* Symmetric positive definite matrices X [n][n], with the metric tr(X^-1 U X^-1 V) that no change of basis G X G^T
 * changes. Volume: Riemannian, det(X)^(-(n + 1) / 2) dX, dX in an orthonormal basis of the symmetric matrices.
 *
 *   exp_X(U) = X^1/2 exp(S) X^1/2, S = X^-1/2 U X^-1/2          log_X(Y) = X^1/2 log(X^-1/2 Y X^-1/2) X^1/2
 *   d exp_X at U: in S's eigenbasis entry (i, j) times the divided difference of exp at the eigenvalues l_i and l_j
 *   source: exp_1(std Z), Z standard in that basis; its density has 1 / prod_{i<j} sinh(d / 2) / (d / 2), d = l_i - l_j
 *   div V = the trace of J over the symmetric matrices, less (n + 1) / 2 tr(X^-1 V)
 *
 * Coordinates are those of that basis: the diagonal, then sqrt(2) times what is above it, row by row.
 * Source: Pennec, Fillard and Ayache, "A Riemannian framework for tensor computing", 2006. */
#include "engine/math/symmetric.h"
#include "engine/space/unit.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define MOST_ROWS    FM_SPACE_MAX_SPD_ROWS
#define MOST_NUMBERS (MOST_ROWS * MOST_ROWS)
#define LEAST_VALUE  1e-12 /* an eigenvalue of a projected matrix, of its largest */
#define SMALL        1e-4

static fm_unit_sizes sizes(const fm_space_part *part)
{
    size_t n = part->n, all = n * n, dimensions = n * (n + 1) / 2;
    return (fm_unit_sizes){.states = all,
                           .inputs = all,
                           .outputs = all,
                           .velocities = all,
                           .dimensions = dimensions,
                           .draws = dimensions};
}

static void symmetrise(size_t n, const double *from, double *ret)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++) {
            double mean = 0.5 * (from[i * n + j] + from[j * n + i]);
            ret[i * n + j] = ret[j * n + i] = mean;
        }
    }
}

/* x = q diag(values) q^T, x kept. */
static void eigen(size_t n, const double *x, double *values, double *q)
{
    double work[MOST_NUMBERS];
    memcpy(work, x, n * n * sizeof *work);
    fm_symmetric_eigen(n, work, values, q);
}

static double largest(size_t n, const double *values)
{
    double most = values[0];
    for (size_t i = 1; i < n; i++) {
        most = values[i] > most ? values[i] : most;
    }
    return most;
}

/* The nearest by eigenvalues that are not too small. */
static void project(const fm_space_part *part, double *x)
{
    size_t n = part->n;
    double values[MOST_ROWS], q[MOST_NUMBERS];
    symmetrise(n, x, x);
    eigen(n, x, values, q);
    double least = LEAST_VALUE * fmax(largest(n, values), LEAST_VALUE);
    bool changed = false;
    for (size_t i = 0; i < n; i++) {
        changed |= !(values[i] >= least);
        values[i] = fmax(values[i], least);
    }
    if (changed) {
        fm_symmetric_compose(n, q, values, x);
    }
}

static bool accept(const fm_space_part *part, double *x, double slack)
{
    size_t n = part->n;
    double values[MOST_ROWS], q[MOST_NUMBERS], fixed[MOST_NUMBERS], most = 0;
    for (size_t i = 0; i < n * n; i++) {
        most = fmax(most, fabs(x[i]));
    }
    bool fits = true; /* never of what is NaN */
    for (size_t i = 0; i < n * n; i++) {
        fits &= fabs(x[i] - x[i % n * n + i / n]) <= slack * most;
    }
    symmetrise(n, x, fixed);
    eigen(n, fixed, values, q);
    for (size_t i = 0; i < n; i++) {
        fits &= values[i] > 0;
    }
    if (!fits) {
        return false;
    }
    memcpy(x, fixed, n * n * sizeof *x);
    return true;
}

/* X^1/2 and X^-1/2 */
typedef struct roots {
    double root[MOST_NUMBERS], inverse[MOST_NUMBERS];
} roots;

static void roots_of(size_t n, const double *x, roots *ret)
{
    double values[MOST_ROWS], inverses[MOST_ROWS], q[MOST_NUMBERS];
    eigen(n, x, values, q);
    for (size_t i = 0; i < n; i++) {
        values[i] = sqrt(fmax(values[i], DBL_MIN));
        inverses[i] = 1 / values[i];
    }
    fm_symmetric_compose(n, q, values, ret->root);
    fm_symmetric_compose(n, q, inverses, ret->inverse);
}

static void move(const fm_space_part *part, const double *x, const double *u, double *y)
{
    size_t n = part->n;
    roots at;
    double s[MOST_NUMBERS], work[MOST_NUMBERS], q[MOST_NUMBERS], values[MOST_ROWS];
    roots_of(n, x, &at);
    symmetrise(n, u, s);
    fm_symmetric_sandwich(n, at.inverse, s, work, s);
    fm_symmetric_eigen(n, s, values, q);
    for (size_t i = 0; i < n; i++) {
        values[i] = exp(values[i]);
    }
    fm_symmetric_compose(n, q, values, s);
    fm_symmetric_sandwich(n, at.root, s, work, y);
}

/* The eigenvalues of log(X^-1/2 Y X^-1/2), and, where asked for, log_X(Y). */
static void logarithm(size_t n, const double *x, const double *y, double *values, double *u)
{
    roots at;
    double s[MOST_NUMBERS], work[MOST_NUMBERS], q[MOST_NUMBERS];
    roots_of(n, x, &at);
    fm_symmetric_sandwich(n, at.inverse, y, work, s);
    fm_symmetric_eigen(n, s, values, q);
    for (size_t i = 0; i < n; i++) {
        values[i] = log(fmax(values[i], DBL_MIN));
    }
    if (u != NULL) {
        fm_symmetric_compose(n, q, values, s);
        fm_symmetric_sandwich(n, at.root, s, work, u);
    }
}

static void difference(const fm_space_part *part, const double *x, const double *y, double *u)
{
    double values[MOST_ROWS];
    logarithm(part->n, x, y, values, u);
}

static double distance(const fm_space_part *part, const double *x, const double *y)
{
    double values[MOST_ROWS];
    logarithm(part->n, x, y, values, NULL);
    return sqrt(fm_unit_dot(part->n, values, values));
}

static double sinh_over(double half)
{
    return fabs(half) < SMALL ? 1 + half * half / 6 : sinh(half) / half;
}

/* ret = q^T a q, or with `back` q a q^T; a symmetric. */
static void turn(size_t n, const double *q, const double *a, bool back, double *ret)
{
    double work[MOST_NUMBERS];
    size_t row = back ? n : 1, column = back ? 1 : n;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++) {
                sum += q[i * row + k * column] * a[k * n + j];
            }
            work[i * n + j] = sum;
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++) {
                sum += work[i * n + k] * q[j * row + k * column];
            }
            ret[i * n + j] = sum;
        }
    }
}

static void pull(const fm_space_part *part, const double *x, const double *u, double *v)
{
    size_t n = part->n;
    roots at;
    double s[MOST_NUMBERS], work[MOST_NUMBERS], q[MOST_NUMBERS], values[MOST_ROWS];
    double turned[MOST_NUMBERS];
    roots_of(n, x, &at);
    symmetrise(n, u, s);
    fm_symmetric_sandwich(n, at.inverse, s, work, s);
    fm_symmetric_eigen(n, s, values, q);
    fm_symmetric_sandwich(n, at.inverse, v, work, s);
    turn(n, q, s, false, turned);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            double middle = 0.5 * (values[i] + values[j]), half = 0.5 * (values[i] - values[j]);
            turned[i * n + j] /= exp(middle) * sinh_over(half);
        }
    }
    turn(n, q, turned, true, s);
    symmetrise(n, s, s);
    fm_symmetric_sandwich(n, at.root, s, work, v);
}

static void input(const fm_space_part *part, const double *x, double *ret)
{
    memcpy(ret, x, part->n * part->n * sizeof *ret);
}

static void velocity(const fm_space_part *part, const double *x, const double *output, double *v)
{
    (void)x;
    symmetrise(part->n, output, v);
}

/* The symmetric matrix with these coordinates. */
static void from_coordinates(size_t n, const double *coordinates, double *ret)
{
    size_t above = n;
    for (size_t i = 0; i < n; i++) {
        ret[i * n + i] = coordinates[i];
        for (size_t j = i + 1; j < n; j++) {
            ret[i * n + j] = ret[j * n + i] = coordinates[above++] * sqrt(0.5);
        }
    }
}

static void push(const fm_space_part *part, const double *x, const double *coordinates, double *ret)
{
    (void)x;
    from_coordinates(part->n, coordinates, ret);
}

static void coordinates(const fm_space_part *part, const double *x, const double *output,
                        double *ret)
{
    (void)x;
    size_t n = part->n, above = n;
    for (size_t i = 0; i < n; i++) {
        ret[i] = output[i * n + i];
        for (size_t j = i + 1; j < n; j++) {
            ret[above++] = (output[i * n + j] + output[j * n + i]) * sqrt(0.5);
        }
    }
}

static double rest(const fm_space_part *part, const double *x, const double *output)
{
    size_t n = part->n;
    double values[MOST_ROWS], q[MOST_NUMBERS], inverse[MOST_NUMBERS], sum = 0;
    eigen(n, x, values, q);
    for (size_t i = 0; i < n; i++) {
        values[i] = 1 / values[i];
    }
    fm_symmetric_compose(n, q, values, inverse);
    for (size_t i = 0; i < n * n; i++) {
        sum += inverse[i] * output[i];
    }
    return -0.5 * (double)(n + 1) * sum;
}

static void draw(const fm_space_part *part, double scale, const double *normals,
                 const double *uniforms, double *ret)
{
    (void)scale;
    (void)uniforms;
    size_t n = part->n;
    double s[MOST_NUMBERS], values[MOST_ROWS], q[MOST_NUMBERS];
    from_coordinates(n, normals, s);
    fm_symmetric_eigen(n, s, values, q);
    for (size_t i = 0; i < n; i++) {
        values[i] = exp(part->source.std * values[i]);
    }
    fm_symmetric_compose(n, q, values, ret);
}

static double source_log_density(const fm_space_part *part, double scale, const double *x)
{
    (void)scale;
    size_t n = part->n;
    double values[MOST_ROWS], q[MOST_NUMBERS], square = 0, log_spread = 0;
    eigen(n, x, values, q);
    for (size_t i = 0; i < n; i++) {
        values[i] = log(fmax(values[i], DBL_MIN));
        square += values[i] / part->source.std * (values[i] / part->source.std);
        for (size_t j = 0; j < i; j++) {
            log_spread += log(sinh_over(0.5 * (values[i] - values[j])));
        }
    }
    double dimensions = 0.5 * (double)(n * (n + 1));
    return -0.5 * square - dimensions * (0.5 * FM_LOG_TWO_PI + log(part->source.std)) - log_spread;
}

const fm_unit_type fm_unit_spd = {.rule = "must be a symmetric positive definite matrix",
                                  .sources = FM_SOURCE_BIT(WRAPPED_NORMAL),
                                  .least = 1,
                                  .most = MOST_ROWS,
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

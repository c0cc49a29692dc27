/* Monotone cubics through the points of a table, and the inverse of their ratio by bisection. */
#include "engine/flow/path_table.h"

#include "engine/memory.h"

#include <math.h>
#include <string.h>

#define MIN_POINTS ((size_t)2)
#define MAX_POINTS ((size_t)1 << 20)

struct fm_path_table {
    size_t n;
    double *t, *alpha, *sigma;           /* [n] */
    double *alpha_slopes, *sigma_slopes; /* [n], of the cubics at the points */
};

/* ---- the cubics ---- */

/* Slope at an end: that of the parabola through three points, with the sign of the secant beside it and at
 * most three times as steep. */
static double end_slope(double h0, double h1, double secant0, double secant1)
{
    double slope = ((2.0 * h0 + h1) * secant0 - h0 * secant1) / (h0 + h1);
    if (slope * secant0 <= 0.0) {
        return 0.0;
    }
    return fabs(slope) > 3.0 * fabs(secant0) ? 3.0 * secant0 : slope;
}

static double inner_slope(double h0, double h1, double secant0, double secant1)
{
    if (secant0 * secant1 <= 0.0) {
        return 0.0;
    }
    double w0 = 2.0 * h1 + h0, w1 = h1 + 2.0 * h0;
    return (w0 + w1) / (w0 / secant0 + w1 / secant1);
}

static double secant(const double *t, const double *y, size_t i)
{
    return (y[i + 1] - y[i]) / (t[i + 1] - t[i]);
}

static void find_slopes(size_t n, const double *t, const double *y, double *ret)
{
    if (n == 2) {
        ret[0] = ret[1] = secant(t, y, 0);
        return;
    }
    for (size_t i = 1; i + 1 < n; i++) {
        ret[i] =
            inner_slope(t[i] - t[i - 1], t[i + 1] - t[i], secant(t, y, i - 1), secant(t, y, i));
    }
    size_t last = n - 1;
    ret[0] = end_slope(t[1] - t[0], t[2] - t[1], secant(t, y, 0), secant(t, y, 1));
    ret[last] = end_slope(t[last] - t[last - 1], t[last - 1] - t[last - 2], secant(t, y, last - 1),
                          secant(t, y, last - 2));
}

typedef struct place {
    size_t i;     /* between points i and i + 1 */
    double h, at; /* the interval's length, and where in it, 0 to 1 */
} place;

static place find_place(const fm_path_table *table, double t)
{
    size_t low = 0, high = table->n - 1;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (table->t[middle] <= t) {
            low = middle;
        } else {
            high = middle;
        }
    }
    double h = table->t[low + 1] - table->t[low];
    return (place){.i = low, .h = h, .at = (t - table->t[low]) / h};
}

/* The cubic with these values and slopes at both ends, and its derivative. Written from the nearer end, so that
 * the points themselves are met exactly. */
static double cubic(const place *p, const double *y, const double *slopes, double *ret_slope)
{
    double s = p->at, r = 1.0 - p->at;
    double m0 = p->h * slopes[p->i], m1 = p->h * slopes[p->i + 1];
    double rise = y[p->i + 1] - y[p->i];
    *ret_slope = (6.0 * s * r * rise + r * (r - 2.0 * s) * m0 + s * (s - 2.0 * r) * m1) / p->h;
    if (s <= 0.5) {
        return y[p->i] + s * s * (3.0 - 2.0 * s) * rise + s * r * (r * m0 - s * m1);
    }
    return y[p->i + 1] - r * r * (3.0 - 2.0 * r) * rise + s * r * (r * m0 - s * m1);
}

fm_path_point fm_path_table_at(const fm_path_table *table, double t)
{
    place p = find_place(table, t);
    fm_path_point point = {0};
    point.alpha = cubic(&p, table->alpha, table->alpha_slopes, &point.d_alpha);
    point.sigma = cubic(&p, table->sigma, table->sigma_slopes, &point.d_sigma);
    return point;
}

/* ---- the inverse ---- */

double fm_path_table_time_of(const fm_path_table *table, double alpha, double sigma)
{
    double low = 0.0, high = 1.0, middle = 0.5;
    while (middle > low && middle < high) {
        fm_path_point at = fm_path_table_at(table, middle);
        if (at.alpha * sigma < alpha * at.sigma) { /* the ratio, without a division by 0 */
            low = middle;
        } else {
            high = middle;
        }
        middle = low + (high - low) / 2.0;
    }
    fm_path_point first = fm_path_table_at(table, 0.0);
    return first.alpha * sigma >= alpha * first.sigma ? 0.0 : high;
}

/* ---- the table ---- */

static fm_status check_finite(size_t n, const double *values, const char *name, fm_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!(values[i] >= 0.0) || !isfinite(values[i])) {
            return fm_fail(err, FM_EINVAL, "%s must be finite and not negative; entry %zu is not",
                           name, i);
        }
    }
    return FM_OK;
}

/* One of the two must change in every interval, so that their ratio's slope has no zero. */
static fm_status check_order(size_t n, const double *t, const double *alpha, const double *sigma,
                             fm_error *err)
{
    bool rises = true, falls = true;
    if (t[0] != 0.0 || t[n - 1] != 1.0) {
        return fm_fail(err, FM_EINVAL, "t must begin with 0 and end with 1");
    }
    for (size_t i = 1; i < n; i++) {
        if (!(t[i] > t[i - 1])) {
            return fm_fail(err, FM_EINVAL, "t must ascend; entry %zu does not", i);
        }
        if (alpha[i] < alpha[i - 1]) {
            return fm_fail(err, FM_EINVAL, "alpha must not fall; entry %zu does", i);
        }
        if (sigma[i] > sigma[i - 1]) {
            return fm_fail(err, FM_EINVAL, "sigma must not rise; entry %zu does", i);
        }
        rises = rises && alpha[i] > alpha[i - 1];
        falls = falls && sigma[i] < sigma[i - 1];
    }
    if (!rises && !falls) {
        return fm_fail(err, FM_EINVAL,
                       "alpha must rise between all points, or sigma fall between all");
    }
    return FM_OK;
}

static fm_status check_points(size_t n, const double *t, const double *alpha, const double *sigma,
                              fm_error *err)
{
    if (n < MIN_POINTS || n > MAX_POINTS) {
        return fm_fail(err, FM_EINVAL, "t must have %zu to %zu points", MIN_POINTS, MAX_POINTS);
    }
    fm_status status = check_finite(n, t, "t", err);
    if (status == FM_OK) {
        status = check_finite(n, alpha, "alpha", err);
    }
    if (status == FM_OK) {
        status = check_finite(n, sigma, "sigma", err);
    }
    return status == FM_OK ? check_order(n, t, alpha, sigma, err) : status;
}

static size_t table_bytes(size_t n)
{
    return sizeof(fm_path_table) + 5 * n * sizeof(double);
}

fm_status fm_path_table_new(size_t n, const double *t, const double *alpha, const double *sigma,
                            fm_path_table **ret, fm_error *err)
{
    fm_status status = check_points(n, t, alpha, sigma, err);
    if (status != FM_OK) {
        return status;
    }
    fm_path_table *table = fm_alloc(table_bytes(n));
    if (table == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a scheduler of %zu points", n);
    }
    double *values = (double *)(void *)(table + 1);
    *table = (fm_path_table){.n = n,
                             .t = values,
                             .alpha = values + n,
                             .sigma = values + 2 * n,
                             .alpha_slopes = values + 3 * n,
                             .sigma_slopes = values + 4 * n};
    memcpy(table->t, t, n * sizeof *t);
    memcpy(table->alpha, alpha, n * sizeof *alpha);
    memcpy(table->sigma, sigma, n * sizeof *sigma);
    find_slopes(n, t, alpha, table->alpha_slopes);
    find_slopes(n, t, sigma, table->sigma_slopes);
    *ret = table;
    return FM_OK;
}

void fm_path_table_free(fm_path_table *table)
{
    fm_free(table);
}

size_t fm_path_table_bytes(const fm_path_table *table)
{
    return table == NULL ? 0 : table_bytes(table->n);
}

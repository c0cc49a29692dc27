/* gaussian_mixture: the exact marginal velocity and log density of sum_k w_k N(m_k, S_k^2 I), in float64.
 *
 *   V_k = alpha^2 S_k^2 + sigma^2                      sigma includes the source's standard deviation
 *   r_k ~ w_k N(x; alpha m_k, V_k I)                   normalised over k, in log space
 *   u = sum_k r_k [((alpha d_alpha S_k^2 + sigma d_sigma) / V_k)(x - alpha m_k) + d_alpha m_k]
 *   log p_t = log sum_k w_k N(x; alpha m_k, V_k I)
 *   J v = sum_k r_k [slope_k v + (e_k - sum_j r_j e_j) u_k], e_k = -(x - alpha m_k) . v / V_k, u_k as in u
 *
 * A label chooses one of the classes' mixtures; the null label (any other) the top-level one. Finite on
 * all of [0, 1] for positive stds wherever alpha and d_alpha are.
 *
 * As a classifier its outputs are the logits log p_t(x | y) + log p(y), one a class, with p(y) in proportion to the sum
 * of the class's weights; their gradients are scores, sum_k r_k (alpha m_k - x) / V_k.
 * Source: Lipman et al., arXiv:2210.02747, theorem 1, with Gaussian conditionals and data. */
#include "engine/memory.h"
#include "engine/network/architecture.h"
#include "engine/network/closed_form.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define LOG_TWO_PI 1.83787706640934548356
#define TILE_ROWS  ((size_t)64)

typedef struct mixture {
    size_t n_components;
    double log_weight;   /* of all components */
    double *log_weights; /* [n_components] */
    double *variances;   /* [n_components] S_k^2 */
    double *means;       /* [n_components][dimension] */
} mixture;

typedef struct gaussian_mixture {
    fm_network network;
    fm_closed_form form;
    mixture *mixtures; /* [n_classes + 1], the top-level one last */
    size_t n_classes;
} gaussian_mixture;

/* ---- evaluation ---- */

/* ret[k] = log w_k N(x; alpha m_k, V_k I); returns the largest, -inf for x that is not finite. */
static double log_terms(const mixture *it, const fm_path_point *at, size_t dimension,
                        const double *x, double *ret)
{
    double largest = -HUGE_VAL;
    for (size_t k = 0; k < it->n_components; k++) {
        const double *mean = it->means + k * dimension;
        double square = 0.0;
        for (size_t i = 0; i < dimension; i++) {
            double difference = x[i] - at->alpha * mean[i];
            square += difference * difference;
        }
        double variance = at->alpha * at->alpha * it->variances[k] + at->sigma * at->sigma;
        ret[k] = it->log_weights[k] - square / (2.0 * variance) -
                 0.5 * (double)dimension * (LOG_TWO_PI + log(variance));
        largest = ret[k] > largest ? ret[k] : largest;
    }
    return largest;
}

/* out += share (slope (x - alpha mean) + d_alpha mean) */
static void add_component(const mixture *it, size_t k, const fm_path_point *at, size_t dimension,
                          const double *x, double share, double *out)
{
    const double *mean = it->means + k * dimension;
    double variance = at->alpha * at->alpha * it->variances[k] + at->sigma * at->sigma;
    double slope = (at->alpha * at->d_alpha * it->variances[k] + at->sigma_d_sigma) / variance;
    for (size_t i = 0; i < dimension; i++) {
        out[i] += share * (slope * (x[i] - at->alpha * mean[i]) + at->d_alpha * mean[i]);
    }
}

static const mixture *mixture_of(const gaussian_mixture *self, const fm_tile_row *row)
{
    bool known = row->label >= 0 && (size_t)row->label < self->n_classes;
    return &self->mixtures[known ? (size_t)row->label : self->n_classes];
}

/* terms become the shares r_k; returns log p_t(x). */
static double shares_of(const mixture *it, const fm_path_point *at, size_t dimension,
                        const double *x, double *terms)
{
    double largest = log_terms(it, at, dimension, x, terms);
    terms[0] = exp(terms[0] - largest);
    double sum = terms[0]; /* one of the terms is 1 */
    for (size_t k = 1; k < it->n_components; k++) {
        terms[k] = exp(terms[k] - largest);
        sum += terms[k];
    }
    for (size_t k = 0; k < it->n_components; k++) {
        terms[k] /= sum;
    }
    return largest + log(sum);
}

/* Leaves the shares r_k in terms. */
static void eval_row(const gaussian_mixture *self, const fm_tile_row *row, double *terms)
{
    size_t dimension = self->network.info.dimension;
    const mixture *it = mixture_of(self, row);
    fm_path_point at = fm_closed_form_at(&self->form, row->t);
    double log_density = shares_of(it, &at, dimension, row->x, terms);
    double sign = fm_closed_form_sign(&self->form);
    memset(row->out, 0, dimension * sizeof *row->out);
    for (size_t k = 0; k < it->n_components; k++) {
        add_component(it, k, &at, dimension, row->x, sign * terms[k], row->out);
    }
    if (row->log_density != NULL) {
        *row->log_density = log_density;
    }
}

static fm_status gaussian_mixture_eval(const fm_network *network, const fm_tile_row *rows,
                                       size_t n_rows, void *scratch, fm_team *team)
{
    (void)team; /* a row is a moment's work */
    assert(n_rows >= 1 && n_rows <= network->info.max_rows);
    for (size_t i = 0; i < n_rows; i++) {
        eval_row((const gaussian_mixture *)network, &rows[i], scratch);
    }
    return FM_OK;
}

/* ---- derivatives ---- */

/* ret[k] = e_k; returns their mean by the shares. */
static double log_term_slopes(const mixture *it, const fm_path_point *at, size_t dimension,
                              const double *shares, const double *x, const double *tangent,
                              double *ret)
{
    double sum = 0.0;
    for (size_t k = 0; k < it->n_components; k++) {
        const double *mean = it->means + k * dimension;
        double variance = at->alpha * at->alpha * it->variances[k] + at->sigma * at->sigma;
        double dot = 0.0;
        for (size_t i = 0; i < dimension; i++) {
            dot += (x[i] - at->alpha * mean[i]) * tangent[i];
        }
        ret[k] = -dot / variance;
        sum += shares[k] * ret[k];
    }
    return sum;
}

/* shares: as eval_row() left them. */
static void tangent_row(const gaussian_mixture *self, const fm_tile_row *row, const double *shares,
                        const double *tangent, double *slopes, double *out)
{
    size_t dimension = self->network.info.dimension;
    const mixture *it = mixture_of(self, row);
    fm_path_point at = fm_closed_form_at(&self->form, row->t);
    double sign = fm_closed_form_sign(&self->form), mean_slope;
    mean_slope = log_term_slopes(it, &at, dimension, shares, row->x, tangent, slopes);
    memset(out, 0, dimension * sizeof *out);
    for (size_t k = 0; k < it->n_components; k++) {
        double variance = at.alpha * at.alpha * it->variances[k] + at.sigma * at.sigma;
        double slope = (at.alpha * at.d_alpha * it->variances[k] + at.sigma_d_sigma) / variance;
        add_component(it, k, &at, dimension, row->x, sign * shares[k] * (slopes[k] - mean_slope),
                      out);
        for (size_t i = 0; i < dimension; i++) {
            out[i] += sign * shares[k] * slope * tangent[i];
        }
    }
}

static fm_status gaussian_mixture_jvp(const fm_network *network, const fm_tile_row *rows,
                                      size_t n_rows, void *scratch, void *tangent_scratch,
                                      fm_team *team)
{
    (void)team;
    const gaussian_mixture *self = (const gaussian_mixture *)network;
    size_t dimension = network->info.dimension;
    for (size_t i = 0; i < n_rows; i++) {
        eval_row(self, &rows[i], scratch);
        for (size_t k = 0; k < rows[i].n_tangents; k++) {
            tangent_row(self, &rows[i], scratch, rows[i].tangents + k * dimension, tangent_scratch,
                        rows[i].tangent_out + k * dimension);
        }
    }
    return FM_OK;
}

static fm_status gaussian_mixture_vjp(const fm_network *network, const fm_tile_row *rows,
                                      size_t n_rows, void *scratch, fm_team *team)
{
    double *slopes = (double *)scratch + network->info.scratch_bytes / sizeof(double);
    for (size_t i = 0; i < n_rows; i++) {
        const fm_tile_row row = fm_closed_form_transposed(&rows[i]);
        fm_status status = gaussian_mixture_jvp(network, &row, 1, scratch, slopes, team);
        if (status != FM_OK) {
            return status;
        }
    }
    return FM_OK;
}

/* ---- classifiers ---- */

static fm_status logits_eval(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                             void *scratch, fm_team *team)
{
    (void)team;
    const gaussian_mixture *self = (const gaussian_mixture *)network;
    for (size_t i = 0; i < n_rows; i++) {
        fm_path_point at = fm_closed_form_at(&self->form, rows[i].t);
        for (size_t class = 0; class < self->n_classes; class ++) {
            const mixture *it = &self->mixtures[class];
            rows[i].out[class] =
                it->log_weight + shares_of(it, &at, network->info.dimension, rows[i].x, scratch);
        }
    }
    return FM_OK;
}

/* ret += weight times the score; shares as shares_of() leaves them. */
static void add_score(const mixture *it, const fm_path_point *at, size_t dimension, const double *x,
                      const double *shares, double weight, double *ret)
{
    for (size_t k = 0; k < it->n_components; k++) {
        const double *mean = it->means + k * dimension;
        double variance = at->alpha * at->alpha * it->variances[k] + at->sigma * at->sigma;
        for (size_t i = 0; i < dimension; i++) {
            ret[i] += weight * shares[k] * (at->alpha * mean[i] - x[i]) / variance;
        }
    }
}

static fm_status logits_vjp(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                            void *scratch, fm_team *team)
{
    (void)team;
    const gaussian_mixture *self = (const gaussian_mixture *)network;
    size_t dimension = network->info.dimension;
    for (size_t i = 0; i < n_rows; i++) {
        fm_path_point at = fm_closed_form_at(&self->form, rows[i].t);
        memset(rows[i].gradient, 0, dimension * sizeof *rows[i].gradient);
        for (size_t class = 0; class < self->n_classes; class ++) {
            const mixture *it = &self->mixtures[class];
            rows[i].out[class] = it->log_weight + shares_of(it, &at, dimension, rows[i].x, scratch);
            add_score(it, &at, dimension, rows[i].x, scratch, rows[i].cotangent[class],
                      rows[i].gradient);
        }
    }
    return FM_OK;
}

/* ---- construction ---- */

static void mixture_done(mixture *it)
{
    fm_free(it->log_weights);
    fm_free(it->variances);
    fm_free(it->means);
}

static void gaussian_mixture_free(fm_network *network)
{
    gaussian_mixture *self = (gaussian_mixture *)network;
    for (size_t i = 0; self->mixtures != NULL && i <= self->n_classes; i++) {
        mixture_done(&self->mixtures[i]);
    }
    fm_free(self->mixtures);
    fm_free(self);
}

static const fm_network_ops gaussian_mixture_ops = {.eval = gaussian_mixture_eval,
                                                    .jvp = gaussian_mixture_jvp,
                                                    .vjp = gaussian_mixture_vjp,
                                                    .free = gaussian_mixture_free};

/* The gradients of its outputs are asked for, and no other derivative. */
static const fm_network_ops logits_ops = {
    .eval = logits_eval, .vjp = logits_vjp, .free = gaussian_mixture_free};

/* On failure ret is left for mixture_done(). */
static fm_status mixture_init(mixture *ret, const fm_mixture_config *config, size_t dimension,
                              fm_error *err)
{
    size_t n = config->n_components;
    size_t n_means = 0;
    assert(n >= 1);
    ret->n_components = n;
    ret->log_weights = fm_alloc_array(n, sizeof *ret->log_weights);
    ret->variances = fm_alloc_array(n, sizeof *ret->variances);
    ret->means =
        fm_multiply(n, dimension, &n_means) ? fm_alloc_array(n_means, sizeof *ret->means) : NULL;
    if (ret->log_weights == NULL || ret->variances == NULL || ret->means == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a mixture of %zu Gaussians", n);
    }
    double sum = 0.0;
    for (size_t k = 0; k < n; k++) {
        sum += config->weights[k];
    }
    ret->log_weight = config->log_total;
    for (size_t k = 0; k < n; k++) {
        ret->log_weights[k] = log(config->weights[k] / sum);
        ret->variances[k] = config->stds[k] * config->stds[k];
    }
    memcpy(ret->means, config->means, n_means * sizeof *ret->means);
    return FM_OK;
}

static fm_status mixtures_init(gaussian_mixture *self, const fm_model_config *config, fm_error *err)
{
    const fm_gaussian_mixture_config *it = &config->gaussian_mixture;
    self->mixtures = fm_alloc_array(it->n_classes + 1, sizeof *self->mixtures);
    if (self->mixtures == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu mixtures", it->n_classes + 1);
    }
    self->n_classes = it->n_classes;
    fm_status status = FM_OK;
    for (size_t i = 0; status == FM_OK && i <= it->n_classes; i++) {
        const fm_mixture_config *one = i < it->n_classes ? &it->classes[i] : &it->mixture;
        status = mixture_init(&self->mixtures[i], one, config->dimension, err);
    }
    return status;
}

static fm_network_info info_of(const gaussian_mixture *self, size_t dimension)
{
    size_t components = 0;
    size_t largest = 0;
    for (size_t i = 0; i <= self->n_classes; i++) {
        size_t n = self->mixtures[i].n_components;
        components += n;
        largest = n > largest ? n : largest;
    }
    return (fm_network_info){.dimension = dimension,
                             .out_dimension = dimension,
                             .parameter_count = components * (dimension + 2),
                             .weight_bytes = components * (dimension + 2) * sizeof(double),
                             .scratch_bytes = largest * sizeof(double),
                             .max_rows = TILE_ROWS,
                             .has_log_density = true,
                             .max_tangents = TILE_ROWS,
                             .tangent_scratch_bytes = largest * sizeof(double),
                             .reverse_rows = TILE_ROWS,
                             .reverse_scratch_bytes = 2 * largest * sizeof(double)};
}

fm_status fm_gaussian_mixture_new(const fm_model_config *config, fm_weights *weights,
                                  const fm_path *path, fm_network **ret, fm_error *err)
{
    (void)weights;
    gaussian_mixture *self = fm_alloc(sizeof *self);
    if (self == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a network");
    }
    self->network.ops = &gaussian_mixture_ops;
    self->form = fm_closed_form_of(config, path);
    fm_status status = mixtures_init(self, config, err);
    if (status != FM_OK) {
        gaussian_mixture_free(&self->network);
        return status;
    }
    self->network.info = info_of(self, config->dimension);
    if (config->classifier) {
        self->network.ops = &logits_ops;
        self->network.info.out_dimension = self->n_classes;
        self->network.info.has_log_density = false;
    }
    *ret = &self->network;
    return FM_OK;
}

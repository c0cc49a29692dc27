/* Spaces, where states live: rows of engine/space/space.def, or products of them. engine/space/space.h has what can be
 * done there. */
#ifndef FM_FM_SPACE_H
#define FM_FM_SPACE_H

#include "engine/annotate.h"
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

/* How a network sees a rotation, or a token. */
typedef enum fm_representation {
    FM_REPRESENTATION_QUATERNION, /* 4 numbers in; 4 out, dq/dt before its projection */
    FM_REPRESENTATION_MATRIX, /* 9 in, row-major; 3 out, the angular velocity in the body's frame */
    FM_REPRESENTATION_INDEX,  /* 1 in; as many out as the vocabulary has tokens: logits */
    FM_REPRESENTATION_ONE_HOT, /* that many in, too: 1 at the token's place, else 0 */
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

/* Of a Euclidean flow that also jumps: each number to one of n equal bins of the range, and there to a point that is drawn
 * evenly. n = 0: it does not. */
typedef struct fm_bins {
    size_t n;
    double range[2]; /* ascending */
} fm_bins;

#define FM_MAX_BINS 65536

typedef struct fm_space {
    fm_space_part parts[FM_SPACE_MAX_PARTS];
    size_t n_parts;
    bool is_product;  /* as config.json says it */
    bool is_flat;     /* Euclidean, all of it, and no product: x + u will do */
    bool is_external; /* some part's source is: x0 must be given */
    fm_bins bins;     /* where is_flat */
    /* Sums over the parts. velocities: what a network's output becomes for a solver, of tokens their logits, of others
     * slopes, as many as states. Of states that jump both are
     * [states velocities][states intensities][states][bins logits], of which a method for flows is handed the first. */
    size_t states, inputs, outputs, velocities, dimensions;
} fm_space;

const char *fm_space_name(fm_space_id id);
fm_space_id fm_space_find(const char *name); /* FM_N_SPACES when there is none */
size_t fm_space_axes(fm_space_id id);
const char *fm_source_name(fm_source_id id);
fm_source_id fm_source_find(const char *name);            /* FM_N_SOURCES when there is none */
size_t fm_space_point_numbers(const fm_space_part *part); /* of one point's state */
/* Whether points of this kind can be drawn so. */
bool fm_source_is_of(fm_source_id source, fm_space_id space);

/* Whether every point of x [states] is one of the space, within FM_SPACE_POINT_SLACK, made exact in place (unit length,
 * angles in [0, 2 pi), w >= 0, symmetric). False: *ret_rule says what a point must be ("must be a unit vector"), and
 * *ret_at is the first number of the first that is not. */
bool fm_space_accept(const fm_space *space, double *x, const char **ret_rule, size_t *ret_at);
/* As they go out: like accept, of points that are on the space but for rounding. */
void fm_space_normalise(const fm_space *space, double *x);

#endif

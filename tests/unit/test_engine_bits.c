/* engine/network/bits: the check passes real networks and catches every way of breaking the promise. */
#include "engine/math/dense.h"
#include "tests/support/network_case.h"
#include "tests/unit/suites.h"

#include <string.h>

static const struct {
    const char *folder;
    int32_t max_label;
} models[] = {
    {"tests/golden/mlp-checkerboard", 0},    {"tests/golden/mlp-labels", 8},
    {"tests/golden/mlp-moons-otcfm", 0},     {"tests/golden/mlp-activation-gelu", 0},
    {"tests/golden/gaussian-mixture-2d", 0}, {"tests/golden/dataset-moons", 0},
};

START_TEST(rows_of_real_networks_do_not_know_of_their_tile)
{
    fm_dense_thread_init();
    network_case it;
    network_case_open(&it, models[_i].folder);
    bool independent = false;
    ck_assert_int_eq(fm_network_check_bits(it.network, models[_i].max_label, &independent, NULL),
                     FM_OK);
    ck_assert(independent);
    network_case_close(&it);
}
END_TEST

/* A network that is wrong in one way. */
typedef enum flaw {
    FLAW_NONE,
    FLAW_COUNT,    /* full tiles take another kernel */
    FLAW_TAIL,     /* the rows past the last multiple of 8 do */
    FLAW_POSITION, /* so does row 37 */
    FLAW_NEIGHBOUR,
    FLAW_SCRATCH, /* what lay in the scratch shows */
    FLAW_DENSITY,
    FLAW_COUNT_OF_FLAWS
} flaw;

typedef struct flawed {
    fm_network network;
    flaw flaw;
} flawed;

#define FLAWED_ROWS 50

static bool is_off(flaw it, size_t row, size_t n_rows)
{
    switch (it) {
    case FLAW_COUNT:
        return n_rows == FLAWED_ROWS;
    case FLAW_TAIL:
        return n_rows > 8 && row >= n_rows / 8 * 8;
    case FLAW_POSITION:
        return row == 37;
    case FLAW_NONE:
    case FLAW_NEIGHBOUR:
    case FLAW_SCRATCH:
    case FLAW_DENSITY:
    case FLAW_COUNT_OF_FLAWS:
        break;
    }
    return false;
}

static fm_status flawed_eval(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                             void *scratch, fm_team *team)
{
    (void)team;
    flaw it = ((const flawed *)network)->flaw;
    for (size_t i = 0; i < n_rows; i++) {
        const fm_tile_row *row = &rows[i];
        double sum = row->x[0] * 0.1 + row->t + row->label;
        if (is_off(it, i, n_rows)) {
            sum *= 1 + 1e-15;
        }
        if (it == FLAW_NEIGHBOUR && i > 0) {
            sum += 1e-15 * rows[i - 1].x[0];
        }
        if (it == FLAW_SCRATCH && n_rows > 1) {
            double stale = 0;
            memcpy(&stale, scratch, sizeof stale);
            sum += stale;
        }
        row->out[0] = sum;
        *row->log_density = it == FLAW_DENSITY && i == 2 ? -sum : sum;
    }
    return FM_OK;
}

static const fm_network_ops flawed_ops = {.eval = flawed_eval};

START_TEST(every_kind_of_dependence_is_caught)
{
    flawed it = {.network = {.ops = &flawed_ops,
                             .info = {.dimension = 1,
                                      .out_dimension = 1,
                                      .scratch_bytes = 64,
                                      .max_rows = FLAWED_ROWS,
                                      .has_log_density = true}},
                 .flaw = (flaw)_i};
    bool independent = _i != FLAW_NONE;
    ck_assert_int_eq(fm_network_check_bits(&it.network, 2, &independent, NULL), FM_OK);
    ck_assert_msg(independent == (_i == FLAW_NONE), "flaw %d", _i);
}
END_TEST

Suite *suite_engine_bits(void)
{
    Suite *suite = suite_create("engine/bits");
    TCase *tcase = tcase_create("bits");
    tcase_add_loop_test(tcase, rows_of_real_networks_do_not_know_of_their_tile, 0,
                        (int)(sizeof models / sizeof models[0]));
    tcase_add_loop_test(tcase, every_kind_of_dependence_is_caught, 0, FLAW_COUNT_OF_FLAWS);
    suite_add_tcase(suite, tcase);
    return suite;
}

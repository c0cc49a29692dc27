/* The tableaux of the low and middle orders. Each row of a is on its own line; dense outputs are
 * polynomials in theta without a constant term, one row a stage. */
#include "engine/solve/tableau.h"

/* clang-format off */

static const double euler_c[] = {0};
static const double euler_b[] = {1};
const fm_tableau fm_tableau_euler = {.stages = 1, .c = euler_c, .b = euler_b};

static const double midpoint_c[] = {0, 0.5};
static const double midpoint_a[] = {0.5};
static const double midpoint_b[] = {0, 1};
const fm_tableau fm_tableau_midpoint = {
    .stages = 2, .c = midpoint_c, .a = midpoint_a, .b = midpoint_b};

static const double heun2_c[] = {0, 1};
static const double heun2_a[] = {1};
static const double heun2_b[] = {0.5, 0.5};
const fm_tableau fm_tableau_heun2 = {.stages = 2, .c = heun2_c, .a = heun2_a, .b = heun2_b};

static const double heun3_c[] = {0, 1.0 / 3, 2.0 / 3};
static const double heun3_a[] = {
    1.0 / 3,
    0, 2.0 / 3,
};
static const double heun3_b[] = {0.25, 0, 0.75};
const fm_tableau fm_tableau_heun3 = {.stages = 3, .c = heun3_c, .a = heun3_a, .b = heun3_b};

static const double rk4_c[] = {0, 0.5, 0.5, 1};
static const double rk4_a[] = {
    0.5,
    0, 0.5,
    0, 0,   1,
};
static const double rk4_b[] = {1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6};
const fm_tableau fm_tableau_rk4 = {.stages = 4, .c = rk4_c, .a = rk4_a, .b = rk4_b};

static const double rk4_38_c[] = {0, 1.0 / 3, 2.0 / 3, 1};
static const double rk4_38_a[] = {
    1.0 / 3,
    -1.0 / 3, 1,
    1,        -1, 1,
};
static const double rk4_38_b[] = {0.125, 0.375, 0.375, 0.125};
const fm_tableau fm_tableau_rk4_38 = {.stages = 4, .c = rk4_38_c, .a = rk4_38_a, .b = rk4_38_b};

/* One evaluation a step: the slope at Euler's prediction also begins the next step, as in torchdiffeq
 * (the predict-evaluate-correct mode of Heun's method). It differs from the slope at the corrected
 * state by O(h^2), which keeps the order 2. Dense output: the parabola through both states and the
 * first slope. */
static const double adaptive_heun_c[] = {0, 1};
static const double adaptive_heun_a[] = {1};
static const double adaptive_heun_b[] = {0.5, 0.5};
static const double adaptive_heun_error[] = {0.5, -0.5};
static const double adaptive_heun_dense[] = {
    1, -0.5,
    0, 0.5,
};
const fm_tableau fm_tableau_adaptive_heun = {.stages = 2,
                                             .degree = 2,
                                             .dense_order = 2,
                                             .c = adaptive_heun_c,
                                             .a = adaptive_heun_a,
                                             .b = adaptive_heun_b,
                                             .error = adaptive_heun_error,
                                             .dense = adaptive_heun_dense};

/* Fehlberg, "Low-order classical Runge-Kutta formulas with stepsize control", NASA TR R-315, 1969. Its last
 * slope, at the state of the row before, also begins the next step, as in torchdiffeq; see
 * adaptive_heun. The pair's results differ by 1/512 of two slopes alone. Dense output: the parabola
 * through both states and the first slope. */
static const double fehlberg2_c[] = {0, 0.5, 1};
static const double fehlberg2_a[] = {
    0.5,
    1.0 / 256, 255.0 / 256,
};
static const double fehlberg2_b[] = {1.0 / 512, 255.0 / 256, 1.0 / 512};
static const double fehlberg2_error[] = {-1.0 / 512, 0, 1.0 / 512};
static const double fehlberg2_dense[] = {
    1, -511.0 / 512,
    0, 255.0 / 256,
    0, 1.0 / 512,
};
const fm_tableau fm_tableau_fehlberg2 = {.stages = 3,
                                         .degree = 2,
                                         .dense_order = 2,
                                         .steps_scale = 0.044, /* 512^(-1/2) */
                                         .c = fehlberg2_c,
                                         .a = fehlberg2_a,
                                         .b = fehlberg2_b,
                                         .error = fehlberg2_error,
                                         .dense = fehlberg2_dense};

/* Bogacki and Shampine, "A 3(2) pair of Runge-Kutta formulas", 1989. Dense output: cubic Hermite. */
static const double bosh3_c[] = {0, 0.5, 0.75, 1};
static const double bosh3_a[] = {
    0.5,
    0,       0.75,
    2.0 / 9, 1.0 / 3, 4.0 / 9,
};
static const double bosh3_error[] = {2.0 / 9 - 7.0 / 24, 1.0 / 3 - 1.0 / 4, 4.0 / 9 - 1.0 / 3,
                                     -1.0 / 8};
static const double bosh3_dense[] = {
    1, -4.0 / 3, 5.0 / 9,
    0, 1,        -2.0 / 3,
    0, 4.0 / 3,  -8.0 / 9,
    0, -1,       1,
};
const fm_tableau fm_tableau_bosh3 = {.stages = 4,
                                     .degree = 3,
                                     .dense_order = 3,
                                     .c = bosh3_c,
                                     .a = bosh3_a,
                                     .error = bosh3_error,
                                     .dense = bosh3_dense};

/* Dormand and Prince, "A family of embedded Runge-Kutta formulae", 1980, with the embedded method
 * and the continuous extension of Shampine, "Some practical Runge-Kutta formulas", 1986. */
static const double dopri5_c[] = {0, 0.2, 0.3, 0.8, 8.0 / 9, 1, 1};
static const double dopri5_a[] = {
    1.0 / 5,
    3.0 / 40,         9.0 / 40,
    44.0 / 45,        -56.0 / 15,        32.0 / 9,
    19372.0 / 6561,   -25360.0 / 2187,   64448.0 / 6561,   -212.0 / 729,
    9017.0 / 3168,    -355.0 / 33,       46732.0 / 5247,   49.0 / 176,     -5103.0 / 18656,
    35.0 / 384,       0,                 500.0 / 1113,     125.0 / 192,    -2187.0 / 6784,
    11.0 / 84,
};
static const double dopri5_error[] = {
    35.0 / 384 - 1951.0 / 21600, 0, 500.0 / 1113 - 22642.0 / 50085, 125.0 / 192 - 451.0 / 720,
    -2187.0 / 6784 + 12231.0 / 42400, 11.0 / 84 - 649.0 / 6300, -1.0 / 60};
static const double dopri5_dense[] = {
    1, -8048581381.0 / 2820520608, 8663915743.0 / 2820520608, -12715105075.0 / 11282082432,
    0, 0, 0, 0,
    0, 131558114200.0 / 32700410799, -68118460800.0 / 10900136933, 87487479700.0 / 32700410799,
    0, -1754552775.0 / 470086768, 14199869525.0 / 1410260304, -10690763975.0 / 1880347072,
    0, 127303824393.0 / 49829197408, -318862633887.0 / 49829197408, 701980252875.0 / 199316789632,
    0, -282668133.0 / 205662961, 2019193451.0 / 616988883, -1453857185.0 / 822651844,
    0, 40617522.0 / 29380423, -110615467.0 / 29380423, 69997945.0 / 29380423,
};
const fm_tableau fm_tableau_dopri5 = {.stages = 7,
                                      .degree = 4,
                                      .dense_order = 4,
                                      .c = dopri5_c,
                                      .a = dopri5_a,
                                      .error = dopri5_error,
                                      .dense = dopri5_dense};

/* Tsitouras, "Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying
 * assumption", 2011, with its own free interpolant, its factors multiplied out. */
static const double tsit5_c[] = {0, 0.161, 0.327, 0.9, 0.9800255409045097, 1, 1};
static const double tsit5_a[] = {
    0.161,
    -0.008480655492356989, 0.335480655492357,
    2.8971530571054935, -6.359448489975075, 4.3622954328695815,
    5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525,
    5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401,
    -0.02826905039406838,
    0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081,
    2.324710524099774,
};
static const double tsit5_error[] = {
    0.00178001105222577714, 0.0008164344596567469, -0.007880878010261995, 0.1447110071732629,
    -0.5823571654525552,    0.45808210592918697,   -1.0 / 66};
static const double tsit5_dense[] = {
    1, -2.7637061972748258, 2.9132554618219126,  -1.0530884977290216,
    0, 0.1317,              -0.2234,             0.1017,
    0, 3.9302962368947516,  -5.9410338721315048, 2.4906272856512528,
    0, -12.411077166933676, 30.338188630282321,  -16.548102889244902,
    0, 37.509313416511041,  -88.178904894766404, 47.379521962819283,
    0, -27.896526289197286, 65.091894674793664,  -34.870657861496611,
    0, 1.5,                 -4,                  2.5,
};
const fm_tableau fm_tableau_tsit5 = {.stages = 7,
                                     .degree = 4,
                                     .dense_order = 4,
                                     .c = tsit5_c,
                                     .a = tsit5_a,
                                     .error = tsit5_error,
                                     .dense = tsit5_dense};
/* clang-format on */

static bool has_weight(const double *weights, size_t i)
{
    return weights != NULL && weights[i] != 0.0;
}

/* The last slope of a pair is the first of the next step; a fixed grid's first is an end of cubic outputs. */
bool fm_tableau_integrates(const fm_tableau *tableau, size_t i, bool outputs)
{
    size_t last = tableau->stages - 1;
    bool pair = tableau->error != NULL;
    if (i > last || (pair && (i == 0 || i == last)) || (!pair && i == 0 && outputs)) {
        return true;
    }
    const double *end = tableau->b != NULL ? tableau->b : fm_tableau_row(tableau, last);
    bool inside = false;
    for (size_t m = 0; outputs && tableau->dense != NULL && m < tableau->degree; m++) {
        inside |= tableau->dense[i * tableau->degree + m] != 0.0;
    }
    return inside || has_weight(end, i) || has_weight(tableau->error, i);
}

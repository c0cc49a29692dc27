/* Graphs for plan_case.h that together hold every op, each in every way it can be asked for. */
#ifndef TESTS_PLAN_GRAPHS_H
#define TESTS_PLAN_GRAPHS_H

#include "tests/support/plan_case.h"

enum {
    GRAPH_WAVES,
    GRAPH_CHANNELS_KEPT,
    GRAPH_PATCHES,
    GRAPH_CONDITIONS,
    GRAPH_PIXELS,
    GRAPH_CONVOLUTIONS,
    GRAPH_BORDERS,        /* one value read by convolutions of all kernels and by every other op */
    GRAPH_VECTOR_BORDERS, /* the same of vectors */
    GRAPH_TRANSFORMER,
    GRAPH_PLACES,
    GRAPH_UNET,
    GRAPH_FRAMES,
    GRAPH_PAIR_TABLES, /* attention of nodes that vary with pairs that do not */
    N_GRAPHS,
};
extern const plan_graph plan_graphs[N_GRAPHS];

#endif

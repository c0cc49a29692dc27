/* Calls of networks beside a call of the rows' own. */
#include "engine/batch/asides.h"

#include "engine/model.h"

/* Rows that wait for a call of one network, forward or backward. */
typedef struct aside_tile {
    const fm_model *model;
    bool reverse;
    size_t worker, n_rows;
    fm_tile_row rows[FM_MAX_TILE_ROWS];
} aside_tile;

static fm_status run(aside_tile *tile)
{
    const fm_model *model = tile->model;
    size_t n_rows = tile->n_rows;
    tile->n_rows = 0;
    if (n_rows == 0) {
        return FM_OK;
    }
    return tile->reverse
               ? model->network->ops->vjp(model->network, tile->rows, n_rows,
                                          fm_model_reverse_scratch(model, tile->worker), NULL)
               : fm_network_eval(model->network, tile->rows, n_rows,
                                 fm_model_scratch(model, tile->worker));
}

static fm_status add(aside_tile *tile, const fm_model *model, const fm_tile_row *row)
{
    bool reverse = row->cotangent != NULL;
    size_t most = reverse ? model->network->info.reverse_rows : model->tile_rows;
    most = most < FM_MAX_TILE_ROWS ? most : FM_MAX_TILE_ROWS;
    fm_status status = FM_OK;
    if (tile->model != model || tile->reverse != reverse || tile->n_rows == most) {
        status = run(tile);
        tile->model = model;
        tile->reverse = reverse;
    }
    tile->rows[tile->n_rows++] = *row;
    return status;
}

static fm_status ask_all(aside_tile *tile, fm_aside aside, fm_row *const *rows, size_t n_rows,
                         const fm_tile_row *own)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < n_rows && status == FM_OK; i++) {
        fm_tile_row row;
        if (rows[i]->ended) {
            continue;
        }
        const fm_model *model = fm_row_aside(rows[i], aside, own, &row);
        status = model == NULL ? FM_OK : add(tile, model, &row);
        own += rows[i]->n_asks;
    }
    return status;
}

static bool any_asks(fm_row *const *rows, size_t n_rows)
{
    size_t i = 0;
    while (i < n_rows && !rows[i]->job->asks_beside) {
        i++;
    }
    return i < n_rows;
}

fm_status fm_asides_run(fm_row *const *rows, size_t n_rows, const fm_tile_row *tile, size_t worker)
{
    if (!any_asks(rows, n_rows)) {
        return FM_OK;
    }
    aside_tile asked; /* about 90 KiB */
    asked.worker = worker;
    asked.model = NULL;
    asked.reverse = false;
    asked.n_rows = 0;
    fm_status status = FM_OK;
    for (unsigned aside = 0; aside < FM_N_ASIDES && status == FM_OK; aside++) {
        status = ask_all(&asked, (fm_aside)aside, rows, n_rows, tile);
    }
    return status == FM_OK ? run(&asked) : status;
}

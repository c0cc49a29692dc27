/* Calls of other networks beside a call of the rows' own. */
#include "engine/batch/asides.h"

#include "engine/model.h"

/* Rows that wait for a call of one network. */
typedef struct aside_tile {
    const fm_model *model;
    size_t worker, n_rows;
    fm_tile_row rows[FM_MAX_TILE_ROWS];
} aside_tile;

static fm_status run(aside_tile *tile)
{
    const fm_model *model = tile->model;
    size_t n_rows = tile->n_rows;
    tile->n_rows = 0;
    return n_rows == 0 ? FM_OK
                       : fm_network_eval(model->network, tile->rows, n_rows,
                                         fm_model_scratch(model, tile->worker));
}

static fm_status add(aside_tile *tile, const fm_model *model, const fm_tile_row *row)
{
    fm_status status = FM_OK;
    if (tile->model != model || tile->n_rows == model->tile_rows) {
        status = run(tile);
        tile->model = model;
    }
    tile->rows[tile->n_rows++] = *row;
    return status;
}

fm_status fm_asides_run(fm_row *const *rows, size_t n_rows, const fm_tile_row *tile, size_t worker)
{
    aside_tile asked; /* about 70 KiB */
    asked.worker = worker;
    asked.model = NULL;
    asked.n_rows = 0;
    fm_status status = FM_OK;
    for (unsigned aside = 0; aside < FM_N_ASIDES; aside++) {
        const fm_tile_row *own = tile;
        for (size_t i = 0; i < n_rows && status == FM_OK; i++) {
            fm_tile_row row;
            const fm_model *model =
                rows[i]->ended ? NULL : fm_row_aside(rows[i], (fm_aside)aside, own->x, &row);
            status = model == NULL ? FM_OK : add(&asked, model, &row);
            own += rows[i]->ended ? 0 : rows[i]->n_asks;
        }
    }
    return status == FM_OK ? run(&asked) : status;
}

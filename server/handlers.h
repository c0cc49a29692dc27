/* What each route of proto/routes.def does. */
#ifndef FMD_HANDLERS_H
#define FMD_HANDLERS_H

#include "server/exchange.h"

typedef struct fmd_handler {
    enum MHD_Result (*run)(fmd_exchange *exchange);
    const char *produces; /* media type for Accept; NULL: whatever is accepted */
    bool produces_npy;    /* application/x-npy too */
    bool produces_png;    /* image/png too, of models for which fmp_image_of() holds */
    bool takes_json;      /* a body, application/json */
    bool is_work;         /* refused while draining */
} fmd_handler;

extern const fmd_handler fmd_handlers[FMD_ROUTE_COUNT];

#define FMD_JSON "application/json"
#define FMD_NPY  "application/x-npy"
#define FMD_PNG  "image/png"

#endif

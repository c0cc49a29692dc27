/* A ticket's body to its request, by its route. */
#include "server/handlers.h"
#include "server/ticket.h"

/* Which rows of api.def a route's body obeys. */
static fmp_api_route body_of(fmd_route route)
{
    static const fmp_api_route bodies[FMD_ROUTE_COUNT] = {
        [FMD_ROUTE_SAMPLE] = FMP_API_SAMPLE,
        [FMD_ROUTE_VELOCITY] = FMP_API_VELOCITY,
        [FMD_ROUTE_ENCODE] = FMP_API_ENCODE,
        [FMD_ROUTE_LOG_LIKELIHOOD] = FMP_API_LOG_LIKELIHOOD,
        [FMD_ROUTE_INTERPOLATE] = FMP_API_INTERPOLATE,
        [FMD_ROUTE_EDIT] = FMP_API_EDIT,
    };
    return bodies[route];
}

/* A .npy file holds one tensor. */
static bool fits_accept(const fmd_ticket *ticket)
{
    return ticket->accepted != FMP_ENCODING_NPY || ticket->request.route != FMP_API_VELOCITY ||
           ticket->request.spec.fields == FM_FIELD_BIT(FM_FIELD_VELOCITY);
}

/* *ticket->request becomes a request of given points. */
static bool parse_points(fmd_ticket *ticket, const char *body, size_t length)
{
    const fmp_limits *limits = &ticket->server->limits;
    fmp_request *request = &ticket->request;
    if (!fmp_request_parse_points(body_of(ticket->route), body, length, ticket->model, limits,
                                  fmd_draw_seed(), request, &ticket->problem)) {
        return false;
    }
    if (!fits_accept(ticket)) {
        fmp_request_done(request);
        fmp_problem_set(&ticket->problem, FMP_PROBLEM_NOT_ACCEPTABLE,
                        FMD_NPY " holds the velocity alone: fields must be [\"velocity\"]");
        return false;
    }
    return fmp_request_accept(request, ticket->model, limits, ticket->accepted, &ticket->problem);
}

/* The models behind the names of a parsed request. */
static void name_models(fmd_ticket *ticket)
{
    fm_model *const *models = ticket->server->models.items;
    fmp_request *request = &ticket->request;
    request->spec.model = models[ticket->model_index];
    if (request->guide != FMP_NO_MODEL) {
        request->spec.guidance.model = models[request->guide];
    }
    if (request->classifier != FMP_NO_MODEL) {
        request->spec.guidance.classifier = models[request->classifier];
    }
}

void fmd_ticket_parse(fmd_ticket *ticket, const char *body, size_t length)
{
    if (length == 0) {
        body = "{}";
        length = 2;
    }
    ticket->parsed =
        ticket->route == FMD_ROUTE_SAMPLE
            ? fmp_request_parse_sample(body, length, ticket->model, &ticket->server->limits,
                                       ticket->accepted, fmd_draw_seed(), &ticket->request,
                                       &ticket->problem)
            : parse_points(ticket, body, length);
    if (ticket->parsed) {
        name_models(ticket);
    }
}

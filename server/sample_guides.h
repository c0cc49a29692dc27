/* The models that a request of `velocityd sample` names beside its own: folders beside the model's. */
#ifndef FMD_SAMPLE_GUIDES_H
#define FMD_SAMPLE_GUIDES_H

#include "engine/fm.h"
#include "proto/request.h"

#define FMD_SAMPLE_GUIDES ((size_t)2) /* guidance.model and guidance.classifier.model */

typedef struct fmd_sample_guides {
    fm_model *models[FMD_SAMPLE_GUIDES];
    const fm_model_info *described[FMD_SAMPLE_GUIDES]; /* [count] of the same, for fmp_limits */
    size_t count;
} fmd_sample_guides;

/* Opens those that the body names; what it says that is no model's name is left for the request's parser to refuse.
 *   folder  of the request's own model
 * Returns FMD_EXIT_OK, or complains and returns another code; released by fmd_sample_guides_done() either way. */
int fmd_sample_guides_open(fmd_sample_guides *guides, const char *folder, const char *body,
                           const fm_model_options *options);
/* The models behind the names of a parsed request. */
void fmd_sample_guides_name(const fmd_sample_guides *guides, fmp_request *request);
void fmd_sample_guides_done(fmd_sample_guides *guides);

#endif

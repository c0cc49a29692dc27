/* Both ends of trajectories as .npy files: what a rectified flow is trained on.
 *
 * Source: Liu, Gong and Liu, arXiv:2209.03003, algorithm 1. */
#ifndef FMD_SAMPLE_PAIRS_H
#define FMD_SAMPLE_PAIRS_H

#include "proto/request.h"

/* Makes the job of a request without a trajectory keep its starts. */
void fmd_ask_for_starts(fmp_request *request);

/* Writes folder/x0.npy and folder/x1.npy, float32 [rows, …shape]; makes the folder where there is none.
 * Returns FMD_EXIT_OK, or complains and returns another code. */
int fmd_write_pairs(const char *folder, const fmp_request *request, const fm_model_info *model,
                    const fm_job *job);

#endif

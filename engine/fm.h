/* THE public engine header: everything that proto, server, tools and tests outside the engine may use.
 *
 * The engine turns a model directory and a checked job into samples. It owns the worker threads; it
 * knows nothing of JSON requests, sockets or the environment, never logs and never exits.
 *
 * Conventions (defined once, in ARCHITECTURE.md): t = 0 is the source (noise), t = 1 is data, the
 * velocity is dx/dt. States, times and steps are float64; networks are float32 unless closed forms.
 *
 * Each part says what it holds in its first line. From outside the engine this header is included, whole; files of
 * the engine include the parts that they need. */
#ifndef FM_FM_H
#define FM_FM_H

#include "engine/annotate.h"
#include "engine/fm_density.h"
#include "engine/fm_engine.h"
#include "engine/fm_guidance.h"
#include "engine/fm_inverse.h"
#include "engine/fm_job.h"
#include "engine/fm_latent.h"
#include "engine/fm_machine.h"
#include "engine/fm_model.h"
#include "engine/fm_path.h"
#include "engine/fm_solver.h"
#include "engine/fm_space.h"
#include "engine/fm_state.h"
#include "engine/status.h"

#endif

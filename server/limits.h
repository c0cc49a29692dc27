/* The bounds on requests, as the settings say them. */
#ifndef FMD_LIMITS_H
#define FMD_LIMITS_H

#include "config/options.h"
#include "proto/request.h"

fmp_limits fmd_limits_of(const fmc_options *options);

#endif

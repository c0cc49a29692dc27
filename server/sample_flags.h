/* The flags of `velocityd sample`: a request's fields as rows of proto/api.def name them.
 *
 * /solver/steps is --solver-steps; a value is JSON, or a string when it is not (--solver-method euler). */
#ifndef FMD_SAMPLE_FLAGS_H
#define FMD_SAMPLE_FLAGS_H

#include "proto/request.h"

typedef struct fmd_sample_flags {
    const char *folder;    /* borrowed from argv, as are output and pairs */
    const char *output;    /* NULL: standard output */
    const char *pairs;     /* a folder for both ends of the trajectories, or NULL */
    fmp_encoding accepted; /* NPY or PNG_GRID where output ends in .npy or .png, else JSON */
    bool help;             /* was asked for and has been printed */
    size_t workers;        /* 0: by the CPU quota */
    char *body;            /* the request as JSON text, owned */
} fmd_sample_flags;

/* Returns FMD_EXIT_OK, or complains and returns another code. Flags override --request's fields. */
int fmd_sample_flags_parse(fmd_sample_flags *flags, int argc, char **argv);
void fmd_sample_flags_done(fmd_sample_flags *flags);

#endif

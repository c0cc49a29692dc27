/* A team: the threads that share one evaluation of a network.
 *
 * An op cuts its work into pieces that write different outputs; the members claim them one by one, so a
 * member that the system takes off its core holds up one piece and no more. Which member runs a piece
 * cannot change a bit. Without a team the caller runs all pieces by itself. */
#ifndef FM_TEAM_H
#define FM_TEAM_H

#include "engine/status.h"

#include <stddef.h>

/*   memory  the running member's own scratch, laid out as the caller's
 * Errors: FM_ENOMEM. */
typedef fm_status (*fm_piece_run)(void *context, size_t piece, unsigned char *memory);

typedef struct fm_team fm_team;
struct fm_team {
    size_t n_members; /* as many as may come, the caller included */
    /* Runs all pieces, the caller among those who do, and returns when all have ended. */
    fm_status (*run)(fm_team *team, size_t n_pieces, fm_piece_run run, void *context);
};

static inline size_t fm_team_members(const fm_team *team)
{
    return team == NULL ? 1 : team->n_members;
}

#endif

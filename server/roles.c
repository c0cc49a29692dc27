#include "server/roles.h"

fmd_role fmd_on_loop;

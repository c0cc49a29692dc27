/* velocityd inspect: the report on a model folder, on standard output. */
#include "server/command.h"

#include <stdio.h>
#include <string.h>

static void write_text(void *context, const char *text, size_t length)
{
    (void)fwrite(text, 1, length, context);
}

int fmd_command_inspect(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        puts("Usage: velocityd inspect MODEL_DIR\n\n"
             "Shows what the folder holds, tensor by tensor, and what is missing, misshapen or\n"
             "unused. The exit code is 0 for a model that can be served, 1 for one that cannot.");
        return FMD_EXIT_OK;
    }
    if (argc != 2 || argv[1][0] == '-') {
        return fmd_complain(FMD_EXIT_USAGE, "usage: velocityd inspect MODEL_DIR");
    }
    fm_error error = {0};
    bool usable = false;
    if (fm_model_inspect(argv[1], write_text, stdout, &usable, &error) != FM_OK) {
        return fmd_complain(FMD_EXIT_FAILED, "%s", error.text);
    }
    return usable ? FMD_EXIT_OK : FMD_EXIT_FAILED;
}

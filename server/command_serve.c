/* velocityd serve: settings from all their sources, then the daemon. */
#include "config/options.h"
#include "server/command.h"
#include "server/serve.h"

#include <stdio.h>
#include <unistd.h>

static int print_help(void)
{
    puts("Usage: velocityd [serve] [--config FILE] [settings]\n\nSettings:");
    fmc_options_print_flags(stdout);
    return FMD_EXIT_OK;
}

int fmd_command_serve(int argc, char **argv)
{
    fm_error error = {0};
    fmc_options options = {0};
    bool help = false;
    const fmc_switch switches[] = {{"help", &help}};
    int code = FMD_EXIT_USAGE;
    if (fmc_options_init(&options, &error) != FM_OK ||
        fmc_options_load(&options, argc, argv, environ, switches, 1, &error) != FM_OK) {
        code = fmd_complain(FMD_EXIT_USAGE, "%s", error.text);
    } else if (help) {
        code = print_help();
    } else {
        code = fmd_serve(&options);
    }
    fmc_options_done(&options);
    return code;
}

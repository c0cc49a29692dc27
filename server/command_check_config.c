/* velocityd check-config: reads the settings as serve would and says what is wrong with them. */
#include "config/options.h"
#include "server/command.h"

#include <stdio.h>
#include <unistd.h>

static int print_help(void)
{
    puts("Usage: velocityd check-config [--print | --print-defaults] [settings]\n\n"
         "  --print           show each value and where it came from\n"
         "  --print-defaults  write a configuration file with every setting at its default\n\n"
         "Settings:");
    fmc_options_print_flags(stdout);
    return FMD_EXIT_OK;
}

int fmd_command_check_config(int argc, char **argv)
{
    fm_error error = {0};
    fmc_options options = {0};
    bool help = false, print = false, print_defaults = false;
    const fmc_switch switches[] = {
        {"help", &help}, {"print", &print}, {"print-defaults", &print_defaults}};
    int code = FMD_EXIT_OK;
    if (fmc_options_init(&options, &error) != FM_OK ||
        fmc_options_load(&options, argc, argv, environ, switches, 3, &error) != FM_OK) {
        code = fmd_complain(FMD_EXIT_USAGE, "%s", error.text);
    } else if (help) {
        code = print_help();
    } else if (print_defaults) {
        fmc_options_print_defaults(stdout);
    } else if (print) {
        fmc_options_print(&options, stdout);
    } else {
        puts("the configuration is valid");
    }
    fmc_options_done(&options);
    return code;
}

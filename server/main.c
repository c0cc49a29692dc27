/* The program: finds the command and runs it. Without one it serves. */
#include "config/options.h"
#include "server/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct fmd_command {
    const char *name;
    const char *usage;
    const char *summary;
    fmd_command_run run;
} fmd_command;

static const fmd_command commands[] = {
    {"serve", "[serve] [--config FILE] [--models DIR] [--listen ADDRESS] [--workers N] …",
     "serve the models of a folder over HTTP", fmd_command_serve},
    {"sample",
     "sample MODEL_DIR [--request FILE] [--output FILE.npy|FILE.png|FILE.json] [field flags]",
     "draw samples without HTTP", fmd_command_sample},
    {"inspect", "inspect MODEL_DIR [--plan] [settings as for serve]",
     "show what a model folder holds, tensor by tensor, and whether it can be served",
     fmd_command_inspect},
    {"convert", "convert IN OUT [--entry PATH] [--prefix TEXT] [--architecture NAME]",
     "write a model folder from a PyTorch or safetensors checkpoint, or from a model folder",
     fmd_command_convert},
    {"check-config", "check-config [--print] [settings as for serve]",
     "check the settings; --print shows each value and its origin", fmd_command_check_config},
    {"probe", "probe URL", "ask a daemon for its health; the exit code is the answer",
     fmd_command_probe},
};

#define N_COMMANDS (sizeof commands / sizeof commands[0])

int fmd_complain(int exit_code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("velocityd: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return exit_code;
}

static int print_version(void)
{
    const fm_build_info *build = fm_build();
    printf("velocityd %s (%s %s, %s kernels, %s)\n", FM_VERSION, build->dense_provider,
           build->dense_version, build->kernels, build->cpu);
    return FMD_EXIT_OK;
}

static int print_help(void)
{
    puts("velocityd serves flow-matching generative models.\n\nUsage:");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        printf("  velocityd %s\n        %s\n", commands[i].usage, commands[i].summary);
    }
    puts("  velocityd --version | --help\n\nSettings (also in an INI file and as VELOCITYD_* "
         "variables):");
    fmc_options_print_flags(stdout);
    return FMD_EXIT_OK;
}

/* Takes the numbers 0 to 2 where they are closed, for the next file or socket opened would get them, and
 * what is written for a log end there. Reading and writing still fail, as of a closed descriptor. */
static bool occupy_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        bool is_closed = fcntl(fd, F_GETFD) < 0 && errno == EBADF;
        if (is_closed && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    if (!occupy_standard_descriptors()) {
        return FMD_EXIT_FAILED; /* and nowhere to say so */
    }
    const char *first = argc > 1 ? argv[1] : "serve";
    if (strcmp(first, "--version") == 0) {
        return print_version();
    }
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || strcmp(first, "help") == 0) {
        return print_help();
    }
    if (first[0] == '-') {
        return fmd_command_serve(argc, argv);
    }
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(first, commands[i].name) == 0) {
            return argc > 1 ? commands[i].run(argc - 1, argv + 1) : commands[i].run(argc, argv);
        }
    }
    return fmd_complain(FMD_EXIT_USAGE, "there is no command \"%s\"; see velocityd --help", first);
}

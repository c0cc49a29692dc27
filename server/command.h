/* The command line: one row per command, each with a file command_<name>.c. */
#ifndef FMD_COMMAND_H
#define FMD_COMMAND_H

#include "engine/fm.h"

/* Exit codes of every command. */
enum { FMD_EXIT_OK = 0, FMD_EXIT_FAILED = 1, FMD_EXIT_USAGE = 2 };

/*   argc, argv   of the command: argv[0] is its name
 * Returns the exit code. Each accepts --help. */
typedef int (*fmd_command_run)(int argc, char **argv);

int fmd_command_serve(int argc, char **argv);
int fmd_command_sample(int argc, char **argv);
int fmd_command_inspect(int argc, char **argv);
int fmd_command_convert(int argc, char **argv);
int fmd_command_check_config(int argc, char **argv);
int fmd_command_probe(int argc, char **argv);

/* "velocityd: text" on standard error; returns the code, so that `return fmd_complain(…)` reads well. */
int fmd_complain(int exit_code, const char *format, ...) FM_PRINTF(2, 3);

#endif

/* velocityd inspect: the report on a model folder, on standard output, and whether serve would take it. */
#include "config/options.h"
#include "server/command.h"
#include "server/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void write_text(void *context, const char *text, size_t length)
{
    (void)fwrite(text, 1, length, context);
}

static int print_help(void)
{
    puts("Usage: velocityd inspect MODEL_DIR [--plan] [settings]\n\n"
         "Shows what the folder holds, tensor by tensor, and what is missing, misshapen or\n"
         "unused; with --plan also the network's operations, op by op; then whether the model\n"
         "can be served: its defaults obey the settings' limits.\n"
         "The exit code is 0 for a model that can be served, 1 for one that cannot.\n\nSettings:");
    fmc_options_print_flags(stdout);
    return FMD_EXIT_OK;
}

static void print_errors(const fmp_problem *problem)
{
    if (problem->n_errors == 0) {
        printf("error: %s\n", problem->detail);
    }
    fmp_problem_error error;
    for (size_t at = 0; fmp_problem_next_error(problem, &at, &error);) {
        printf("error: %s %s\n", error.pointer, error.detail);
    }
}

/* What serve does beyond reading the folder. Prints why the model is refused. */
static fm_status check_servable(const char *folder, const fmp_limits *limits, bool print_plan,
                                bool *ret_servable, fm_error *err)
{
    fm_model *model = NULL;
    fmp_problem *problem = calloc(1, sizeof *problem);
    if (problem == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory");
    }
    /* Packing gigabytes would tell no more about the defaults. */
    const fm_model_options one_worker = {.workers = 1, .describe_only = !print_plan};
    fm_status status = fm_model_open(folder, &one_worker, &model, err);
    if (status == FM_OK) {
        if (print_plan) {
            putchar('\n');
            fm_model_print_plan(model, write_text, stdout);
        }
        *ret_servable = fmp_request_check_defaults(fm_model_describe(model), limits, problem);
        if (!*ret_servable) {
            putchar('\n');
            print_errors(problem);
        }
    } else if (status != FM_ENOMEM) {
        *ret_servable = false;
        printf("\nerror: %s\n", err->text);
        status = FM_OK;
    }
    fm_model_unref(model);
    free(problem);
    return status;
}

static int inspect(const char *folder, bool print_plan, const fmc_options *options)
{
    fm_error error = {0};
    bool usable = false;
    fmp_limits limits = fmd_limits_of(options);
    fm_status status = fm_model_inspect(folder, write_text, stdout, &usable, &error);
    if (status == FM_OK && usable) {
        status = check_servable(folder, &limits, print_plan, &usable, &error);
    }
    if (status != FM_OK) {
        return fmd_complain(FMD_EXIT_FAILED, "%s", error.text);
    }
    printf("\nusable: %s\n", usable ? "yes" : "no");
    return usable ? FMD_EXIT_OK : FMD_EXIT_FAILED;
}

int fmd_command_inspect(int argc, char **argv)
{
    fm_error error = {0};
    fmc_options options = {0};
    bool help = false, plan = false;
    const fmc_switch switches[] = {{"help", &help}, {"plan", &plan}};
    /* The folder is taken off, for settings are flags alone. */
    bool has_folder = argc >= 2 && argv[1][0] != '-';
    int code = FMD_EXIT_USAGE;
    if (fmc_options_init(&options, &error) != FM_OK ||
        fmc_options_load(&options, has_folder ? argc - 1 : argc, has_folder ? argv + 1 : argv,
                         environ, switches, 2, &error) != FM_OK) {
        code = fmd_complain(FMD_EXIT_USAGE, "%s", error.text);
    } else if (help) {
        code = print_help();
    } else if (!has_folder) {
        code =
            fmd_complain(FMD_EXIT_USAGE, "usage: velocityd inspect MODEL_DIR [--plan] [settings]");
    } else {
        code = inspect(argv[1], plan, &options);
    }
    fmc_options_done(&options);
    return code;
}

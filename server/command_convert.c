/* velocityd convert: a checkpoint becomes a model folder. */
#include "server/command.h"

#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#define USAGE "velocityd convert IN OUT [--entry PATH] [--prefix TEXT] [--architecture NAME]"

static void write_text(void *context, const char *text, size_t length)
{
    (void)fwrite(text, 1, length, context);
}

static int print_help(void)
{
    puts("Usage: " USAGE "\n\n"
         "Writes the new folder OUT with model.safetensors and config.json. IN is\n"
         "  a checkpoint   .pt or .pth as torch.save writes it, .safetensors or its .index.json:\n"
         "                 config.json is made from the tensors' names and shapes, and what they\n"
         "                 do not tell is printed as \"assumed: …\", to be checked by hand\n"
         "  a model folder its config.json is kept, its weights become safetensors\n\n"
         "  --entry PATH         dotted path to the state dict in a PyTorch file, ema_model\n"
         "  --prefix TEXT        stripped from every tensor's name\n"
         "  --architecture NAME  mlp, torchcfm.unet, meta.unet, sit; by the names otherwise");
    return FMD_EXIT_OK;
}

/* Returns false where an option is wrong, and says so. */
static bool read_options(int argc, char **argv, fm_convert_options *ret, bool *ret_help)
{
    static const struct option rows[] = {{"entry", required_argument, NULL, 'e'},
                                         {"prefix", required_argument, NULL, 'p'},
                                         {"architecture", required_argument, NULL, 'a'},
                                         {"help", no_argument, NULL, 'h'},
                                         {0}};
    optind = 1;
    opterr = 0; /* the complaint is ours, like every other */
    for (int row = getopt_long(argc, argv, ":h", rows, NULL); row != -1;
         row = getopt_long(argc, argv, ":h", rows, NULL)) {
        switch (row) {
        case 'e':
            ret->entry = optarg;
            break;
        case 'p':
            ret->prefix = optarg;
            break;
        case 'a':
            ret->architecture = optarg;
            break;
        case 'h':
            *ret_help = true;
            break;
        default:
            (void)fmd_complain(FMD_EXIT_USAGE, "%s: %s; see velocityd convert --help",
                               argv[optind - 1], row == ':' ? "needs a value" : "no such flag");
            return false;
        }
    }
    return true;
}

int fmd_command_convert(int argc, char **argv)
{
    fm_convert_options options = {0};
    fm_error error = {0};
    bool help = false;
    if (!read_options(argc, argv, &options, &help)) {
        return FMD_EXIT_USAGE;
    }
    if (help) {
        return print_help();
    }
    if (argc - optind != 2) {
        return fmd_complain(FMD_EXIT_USAGE, "usage: " USAGE);
    }
    fm_status status =
        fm_model_convert(argv[optind], argv[optind + 1], &options, write_text, stdout, &error);
    if (status != FM_OK) {
        return fmd_complain(status == FM_EINVAL ? FMD_EXIT_USAGE : FMD_EXIT_FAILED, "%s",
                            error.text);
    }
    return FMD_EXIT_OK;
}

/* x0.npy and x1.npy of a job. */
#include "server/sample_pairs.h"

#include "proto/response_rows.h"
#include "server/command.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FOLDER_MODE 0777 /* less the umask */

void fmd_ask_for_starts(fmp_request *request)
{
    request->spec.output_times = request->spec.solver.grid;
    request->spec.n_output_times = 1;
    request->spec.fields = FM_FIELD_BIT(FM_FIELD_X);
}

static void start_of(const void *context, size_t row, fm_row_result *ret)
{
    fm_job_row(context, row, ret);
    ret->x = ret->fields[FM_FIELD_X];
}

static void end_of(const void *context, size_t row, fm_row_result *ret)
{
    fm_job_row(context, row, ret);
}

static int write_file(const char *folder, const char *name, const fmp_buffer *file_text)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (length < 0 || (size_t)length >= sizeof path) {
        return fmd_complain(FMD_EXIT_FAILED, "%s: the path is too long", folder);
    }
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        return fmd_complain(FMD_EXIT_FAILED, "cannot write %s: %s", path, strerror(errno));
    }
    bool written = fwrite(file_text->data, 1, file_text->length, file) == file_text->length;
    written = fclose(file) == 0 && written;
    return written ? FMD_EXIT_OK
                   : fmd_complain(FMD_EXIT_FAILED, "cannot write %s: %s", path, strerror(errno));
}

int fmd_write_pairs(const char *folder, const fmp_request *request, const fm_model_info *model,
                    const fm_job *job)
{
    static const struct {
        const char *name;
        void (*at)(const void *context, size_t row, fm_row_result *ret);
    } files[] = {{"x0.npy", start_of}, {"x1.npy", end_of}};
    if (mkdir(folder, FOLDER_MODE) != 0 && errno != EEXIST) {
        return fmd_complain(FMD_EXIT_FAILED, "cannot make %s: %s", folder, strerror(errno));
    }
    int code = FMD_EXIT_OK;
    for (size_t i = 0; i < sizeof files / sizeof *files && code == FMD_EXIT_OK; i++) {
        fmp_rows rows = {.n_rows = fm_job_n_rows(job), .at = files[i].at, .context = job};
        fmp_buffer text;
        fmp_buffer_init(&text, SIZE_MAX);
        fmp_response_write_npy(&text, request, model, &rows);
        code = text.failed ? fmd_complain(FMD_EXIT_FAILED, "no memory for the pairs")
                           : write_file(folder, files[i].name, &text);
        fmp_buffer_done(&text);
    }
    return code;
}

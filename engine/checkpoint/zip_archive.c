/* libzip over a mapped file.
 *
 * libzip does not tell where in the file a record begins, but it reads through a source of ours: after the
 * first byte of a stored record has been read raw, the source knows where that byte was. */
#include "engine/checkpoint/zip_archive.h"

#include "engine/checkpoint/pytorch_limits.h"
#include "engine/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

/* What libzip reads from. */
typedef struct memory_source {
    const unsigned char *data;
    size_t length, position;
    size_t last_read; /* where the last read began */
    zip_error_t error;
} memory_source;

struct fm_zip {
    memory_source source;
    zip_t *archive;
    fm_zip_record *records; /* [count] in name order */
    size_t count;
};

struct fm_copy {
    struct fm_copy *next;
};

#define COPY_HEAD_BYTES FM_ALIGNMENT /* of a copy; the data behind it is aligned */

/* ---- Copies ---- */

fm_status fm_copies_take(fm_copies *copies, size_t size_bytes, void **ret, fm_error *err)
{
    if (size_bytes > copies->left_bytes) {
        return fm_fail(err, FM_EFORMAT,
                       "%zu more bytes of compressed or scattered data; a file of this size may "
                       "take %zu",
                       size_bytes, copies->left_bytes);
    }
    struct fm_copy *copy = fm_alloc(COPY_HEAD_BYTES + size_bytes);
    if (copy == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu bytes", size_bytes);
    }
    copy->next = copies->first;
    copies->first = copy;
    copies->left_bytes -= size_bytes;
    *ret = (unsigned char *)copy + COPY_HEAD_BYTES;
    return FM_OK;
}

void fm_copies_done(fm_copies *copies)
{
    while (copies->first != NULL) {
        struct fm_copy *next = copies->first->next;
        fm_free(copies->first);
        copies->first = next;
    }
}

/* ---- The source ---- */

static zip_int64_t source_read(memory_source *source, void *data, zip_uint64_t length)
{
    size_t left = source->length - source->position;
    size_t count = length < left ? (size_t)length : left;
    if (count > 0) {
        memcpy(data, source->data + source->position, count);
    }
    source->last_read = source->position;
    source->position += count;
    return (zip_int64_t)count;
}

static zip_int64_t source_seek(memory_source *source, void *data, zip_uint64_t length)
{
    zip_int64_t position = zip_source_seek_compute_offset(source->position, source->length, data,
                                                          length, &source->error);
    if (position < 0) {
        return -1;
    }
    source->position = (size_t)position;
    return 0;
}

static zip_int64_t source_stat(const memory_source *source, void *data, zip_uint64_t length)
{
    assert(length >= sizeof(zip_stat_t));
    (void)length;
    zip_stat_t *facts = data;
    zip_stat_init(facts);
    facts->size = source->length;
    facts->valid |= ZIP_STAT_SIZE;
    return sizeof *facts;
}

static zip_int64_t source_command(void *context, void *data, zip_uint64_t length,
                                  zip_source_cmd_t command)
{
    memory_source *source = context;
    switch ((int)command) {
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(
            ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR,
            ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_SUPPORTS, -1);
    case ZIP_SOURCE_OPEN:
        source->position = 0;
        return 0;
    case ZIP_SOURCE_READ:
        return source_read(source, data, length);
    case ZIP_SOURCE_SEEK:
        return source_seek(source, data, length);
    case ZIP_SOURCE_TELL:
        return (zip_int64_t)source->position;
    case ZIP_SOURCE_STAT:
        return source_stat(source, data, length);
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&source->error, data, length);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE: /* the source lives in fm_zip */
        return 0;
    default:
        zip_error_set(&source->error, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
}

/* ---- Opening ---- */

bool fm_zip_is_archive(const unsigned char *data, size_t length)
{
    return length >= 4 && memcmp(data, "PK\3\4", 4) == 0;
}

/* What a libzip error means here. */
static fm_status fail_zip(zip_error_t *error, fm_error *err, const char *what)
{
    fm_status status = zip_error_code_zip(error) == ZIP_ER_MEMORY ? FM_ENOMEM : FM_EFORMAT;
    return fm_fail(err, status, "%s: %s", what, zip_error_strerror(error));
}

static fm_status open_archive(fm_zip *zip, fm_error *err)
{
    zip_error_t error;
    zip_error_init(&error);
    zip_error_init(&zip->source.error);
    zip_source_t *source = zip_source_function_create(source_command, &zip->source, &error);
    fm_status status = FM_OK;
    if (source != NULL) {
        zip->archive = zip_open_from_source(source, ZIP_RDONLY, &error);
    }
    if (zip->archive == NULL) {
        status = fail_zip(&error, err, "expected a zip archive");
        zip_source_free(source); /* takes NULL */
    }
    zip_error_fini(&error);
    return status;
}

static fm_status check_record(const fm_zip *zip, const zip_stat_t *facts, const char *name,
                              fm_error *err)
{
    const zip_uint64_t needed =
        ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if ((facts->valid & needed) != needed) {
        return fm_fail(err, FM_EFORMAT, "record \"%s\": expected sizes and a method", name);
    }
    if (facts->encryption_method != ZIP_EM_NONE) {
        return fm_fail(err, FM_EFORMAT, "record \"%s\": is encrypted", name);
    }
    if (facts->comp_method != ZIP_CM_STORE && facts->comp_method != ZIP_CM_DEFLATE) {
        return fm_fail(err, FM_EFORMAT,
                       "record \"%s\": expected to be stored or deflated, found method %u", name,
                       (unsigned)facts->comp_method);
    }
    if (facts->comp_size > zip->source.length) {
        return fm_fail(err, FM_EFORMAT, "record \"%s\": declares %llu bytes, the file has %zu",
                       name, (unsigned long long)facts->comp_size, zip->source.length);
    }
    if (facts->comp_method == ZIP_CM_STORE && facts->comp_size != facts->size) {
        return fm_fail(err, FM_EFORMAT,
                       "record \"%s\": is stored, and declares two sizes, %llu and %llu", name,
                       (unsigned long long)facts->comp_size, (unsigned long long)facts->size);
    }
    return FM_OK;
}

static fm_status read_record(fm_zip *zip, size_t index, fm_error *err)
{
    zip_stat_t facts;
    const char *name = zip_get_name(zip->archive, index, ZIP_FL_ENC_RAW);
    if (name == NULL || zip_stat_index(zip->archive, index, 0, &facts) != 0) {
        return fail_zip(zip_get_error(zip->archive), err, "cannot list the archive");
    }
    if (strlen(name) > FM_ZIP_MAX_NAME_BYTES) {
        return fm_fail(err, FM_EFORMAT, "expected names of at most %zu bytes, found one of %zu",
                       FM_ZIP_MAX_NAME_BYTES, strlen(name));
    }
    fm_status status = check_record(zip, &facts, name, err);
    if (status != FM_OK) {
        return status;
    }
    fm_zip_record *record = &zip->records[zip->count];
    record->name = fm_string_copy(name);
    if (record->name == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a name");
    }
    record->index = index;
    record->size_bytes = (size_t)facts.size;
    record->packed_bytes = (size_t)facts.comp_size;
    record->stored = facts.comp_method == ZIP_CM_STORE;
    zip->count++;
    return FM_OK;
}

static int compare_record(const void *left, const void *right)
{
    const fm_zip_record *a = left;
    const fm_zip_record *b = right;
    return strcmp(a->name, b->name);
}

static fm_status list_records(fm_zip *zip, fm_error *err)
{
    zip_int64_t count = zip_get_num_entries(zip->archive, 0);
    if (count < 1 || (zip_uint64_t)count > FM_ZIP_MAX_RECORDS) {
        return fm_fail(err, FM_EFORMAT, "expected an archive of 1 to %zu records, found %lld",
                       FM_ZIP_MAX_RECORDS, (long long)count);
    }
    zip->records = fm_alloc_array((size_t)count, sizeof *zip->records);
    if (zip->records == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %lld records", (long long)count);
    }
    for (size_t i = 0; i < (size_t)count; i++) {
        fm_status status = read_record(zip, i, err);
        if (status != FM_OK) {
            return status;
        }
    }
    qsort(zip->records, zip->count, sizeof *zip->records, compare_record);
    for (size_t i = 1; i < zip->count; i++) {
        if (compare_record(&zip->records[i - 1], &zip->records[i]) == 0) {
            return fm_fail(err, FM_EFORMAT, "record \"%s\": is there twice", zip->records[i].name);
        }
    }
    return FM_OK;
}

fm_status fm_zip_open(const unsigned char *data, size_t length, fm_zip **ret, fm_error *err)
{
    fm_zip *zip = fm_alloc(sizeof *zip);
    if (zip == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for an archive");
    }
    zip->source.data = data;
    zip->source.length = length;
    fm_status status = open_archive(zip, err);
    if (status == FM_OK) {
        status = list_records(zip, err);
    }
    if (status == FM_OK) {
        *ret = zip;
    } else {
        fm_zip_close(zip);
    }
    return status;
}

void fm_zip_close(fm_zip *zip)
{
    if (zip == NULL) {
        return;
    }
    for (size_t i = 0; i < zip->count; i++) {
        fm_free(zip->records[i].name);
    }
    fm_free(zip->records);
    if (zip->archive != NULL) {
        zip_discard(zip->archive);
    }
    zip_error_fini(&zip->source.error);
    fm_free(zip);
}

size_t fm_zip_count(const fm_zip *zip)
{
    return zip->count;
}

const fm_zip_record *fm_zip_at(const fm_zip *zip, size_t index)
{
    assert(index < zip->count);
    return &zip->records[index];
}

fm_zip_record *fm_zip_find(fm_zip *zip, const char *name)
{
    const fm_zip_record wanted = {.name = (char *)(uintptr_t)name}; /* only compared */
    return bsearch(&wanted, zip->records, zip->count, sizeof *zip->records, compare_record);
}

/* ---- Loading ---- */

static fm_status find_stored(fm_zip *zip, fm_zip_record *record, fm_error *err)
{
    zip_file_t *file = zip_fopen_index(zip->archive, record->index, ZIP_FL_COMPRESSED);
    if (file == NULL) {
        return fail_zip(zip_get_error(zip->archive), err, record->name);
    }
    unsigned char first = 0;
    bool read = zip_fread(file, &first, 1) == 1;
    size_t begin = zip->source.last_read;
    fm_status status = FM_OK;
    if (!read || begin > zip->source.length || record->size_bytes > zip->source.length - begin) {
        status = fm_fail(err, FM_EFORMAT, "record \"%s\": its %zu bytes go beyond the file's end",
                         record->name, record->size_bytes);
    } else {
        assert(zip->source.data[begin] == first);
        record->data = zip->source.data + begin;
    }
    (void)zip_fclose(file);
    return status;
}

static fm_status unpack(fm_zip *zip, fm_zip_record *record, fm_copies *copies, fm_error *err)
{
    void *copy = NULL;
    fm_status status = fm_copies_take(copies, record->size_bytes, &copy, err);
    if (status != FM_OK) {
        return fm_fail_prefix(err, status, "record \"%s\"", record->name);
    }
    zip_file_t *file = zip_fopen_index(zip->archive, record->index, 0);
    if (file == NULL) {
        return fail_zip(zip_get_error(zip->archive), err, record->name);
    }
    unsigned char *bytes = copy;
    size_t used = 0;
    zip_int64_t got = 1;
    while (got > 0 && used < record->size_bytes) {
        got = zip_fread(file, bytes + used, record->size_bytes - used);
        used += got > 0 ? (size_t)got : 0;
    }
    unsigned char more = 0;
    got = got < 0 ? got : zip_fread(file, &more, 1); /* its end is where the checksum is compared */
    if (got < 0) {
        status = fail_zip(zip_file_get_error(file), err, record->name);
    } else if (got > 0 || used < record->size_bytes) {
        status = fm_fail(err, FM_EFORMAT, "record \"%s\": expected %zu bytes, found %s",
                         record->name, record->size_bytes, got > 0 ? "more" : "fewer");
    }
    (void)zip_fclose(file);
    record->data = status == FM_OK ? bytes : NULL;
    return status;
}

fm_status fm_zip_load(fm_zip *zip, fm_zip_record *record, fm_copies *copies, fm_error *err)
{
    if (record->data != NULL) {
        return FM_OK;
    }
    if (record->size_bytes == 0) {
        record->data = zip->source.data; /* some address: nothing is read of it */
        return FM_OK;
    }
    return record->stored ? find_stored(zip, record, err) : unpack(zip, record, copies, err);
}

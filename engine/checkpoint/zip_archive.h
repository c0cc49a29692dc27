/* Records (files) of a zip archive in memory, read through libzip.
 *
 * A stored record is used where it lies: torch.save() stores, and a checkpoint of gigabytes must not be
 * copied. Compressed ones are unpacked when they are asked for, and belong to the archive's copies. What a
 * record holds is not checked against its CRC where it is stored, for newer PyTorch may leave that out. */
#ifndef FM_ZIP_ARCHIVE_H
#define FM_ZIP_ARCHIVE_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fm_zip fm_zip;

/* Memory that outlives the archive: unpacked records, gathered tensors. A plain value: zeroed at first. */
typedef struct fm_copies {
    struct fm_copy *first;
    size_t left_bytes; /* what may still be taken */
} fm_copies;

/* Errors: FM_ENOMEM; FM_EFORMAT beyond left_bytes. */
FM_MUST_USE fm_status fm_copies_take(fm_copies *copies, size_t size_bytes, void **ret,
                                     fm_error *err);
void fm_copies_done(fm_copies *copies);

typedef struct fm_zip_record {
    char *name;
    size_t index;      /* in the archive */
    size_t size_bytes; /* unpacked, as the archive declares it */
    size_t packed_bytes;
    bool stored;
    const unsigned char *data; /* [size_bytes]; NULL until fm_zip_load() */
} fm_zip_record;

bool fm_zip_is_archive(const unsigned char *data, size_t length); /* by its first bytes */

/* Lists the records and checks their declarations; two of one name are refused.
 *   data  [length] borrowed until close
 * Errors: FM_EFORMAT says what is wrong with the archive, FM_ENOMEM. Thread: any. */
FM_MUST_USE fm_status fm_zip_open(const unsigned char *data, size_t length, fm_zip **ret,
                                  fm_error *err);
void fm_zip_close(fm_zip *zip); /* takes NULL; the records go, what copies hold stays */

size_t fm_zip_count(const fm_zip *zip);
const fm_zip_record *fm_zip_at(const fm_zip *zip, size_t index); /* in name order */
fm_zip_record *fm_zip_find(fm_zip *zip, const char *name);       /* NULL when there is none */

/* Sets record->data: into the archive itself, or to an unpacked copy.
 * Errors: FM_EFORMAT the record lies outside the file, is cut short, or its checksum is wrong;
 *         FM_ENOMEM. */
FM_MUST_USE fm_status fm_zip_load(fm_zip *zip, fm_zip_record *record, fm_copies *copies,
                                  fm_error *err);

#endif

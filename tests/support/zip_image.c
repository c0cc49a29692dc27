/* Zip archives, right ones and wrong ones.
 *
 * Source: APPNOTE.TXT 4.3.7 (local header), 4.3.12 (directory), 4.3.16 (its end). */
#include "tests/support/zip_image.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LOCAL_BYTES     ((size_t)30)
#define DIRECTORY_BYTES ((size_t)46)
#define END_BYTES       ((size_t)22)

static void put(unsigned char **at, uint32_t value, size_t width)
{
    for (size_t i = 0; i < width; i++) {
        *(*at)++ = (unsigned char)(value >> (8 * i));
    }
}

/* CRC-32 of IEEE 802.3. */
static uint32_t checksum(const unsigned char *data, size_t length)
{
    uint32_t crc = 0xffffffffU;
    for (size_t i = 0; i < length; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (0xedb88320U & (0U - (crc & 1U)));
        }
    }
    return ~crc;
}

/* What both headers say of a record, from "version needed" to "extra field length". */
static void put_facts(unsigned char **at, const zip_image_record *record, uint32_t crc)
{
    put(at, 20, 2);
    put(at, record->lies ? record->flags : 0, 2);
    put(at, record->lies ? record->method : 0, 2);
    put(at, 0x00210000, 4); /* 1980-01-01 */
    put(at, crc, 4);
    put(at, record->lies ? record->packed_bytes : (uint32_t)record->size_bytes, 4);
    put(at, record->lies ? record->declared_bytes : (uint32_t)record->size_bytes, 4);
    put(at, (uint32_t)strlen(record->name), 2);
    put(at, 0, 2);
}

static void put_name(unsigned char **at, const char *name)
{
    size_t length = strlen(name);
    memcpy(*at, name, length);
    *at += length;
}

zip_image zip_image_make(const zip_image_record *records, size_t count)
{
    size_t total = END_BYTES;
    for (size_t i = 0; i < count; i++) {
        total +=
            LOCAL_BYTES + DIRECTORY_BYTES + 2 * strlen(records[i].name) + records[i].size_bytes;
    }
    zip_image image = {.data = calloc(1, total), .size_bytes = total};
    uint32_t *begins = calloc(count + 1, sizeof *begins);
    uint32_t *checksums = calloc(count + 1, sizeof *checksums);
    assert(image.data != NULL && begins != NULL && checksums != NULL);
    unsigned char *at = image.data;
    for (size_t i = 0; i < count; i++) {
        const zip_image_record *record = &records[i];
        unsigned char *data = at + LOCAL_BYTES + strlen(record->name);
        if (record->data != NULL && record->size_bytes > 0) {
            memcpy(data, record->data, record->size_bytes);
        }
        begins[i] = (uint32_t)(at - image.data);
        checksums[i] = checksum(data, record->size_bytes);
        put(&at, 0x04034b50, 4);
        put_facts(&at, record, checksums[i]);
        put_name(&at, record->name);
        at += record->size_bytes;
    }
    uint32_t directory = (uint32_t)(at - image.data);
    for (size_t i = 0; i < count; i++) {
        put(&at, 0x02014b50, 4);
        put(&at, 20, 2);
        put_facts(&at, &records[i], checksums[i]);
        put(&at, 0, 2);
        put(&at, 0, 4);
        put(&at, 0, 4);
        put(&at, begins[i], 4);
        put_name(&at, records[i].name);
    }
    uint32_t directory_bytes = (uint32_t)(at - image.data) - directory;
    put(&at, 0x06054b50, 4);
    put(&at, 0, 4);
    put(&at, (uint32_t)count, 2);
    put(&at, (uint32_t)count, 2);
    put(&at, directory_bytes, 4);
    put(&at, directory, 4);
    put(&at, 0, 2);
    assert(at == image.data + total);
    free(begins);
    free(checksums);
    return image;
}

zip_image zip_image_make_pickle(const void *pickle, size_t length)
{
    float numbers[12];
    for (size_t i = 0; i < 12; i++) {
        numbers[i] = (float)i;
    }
    const zip_image_record records[] = {
        {.name = "a/data.pkl", .data = pickle, .size_bytes = length},
        {.name = "a/data/0", .data = numbers, .size_bytes = sizeof numbers},
        {.name = "a/data/1", .data = numbers, .size_bytes = sizeof numbers},
    };
    return zip_image_make(records, 3);
}

void zip_image_free(zip_image *image)
{
    free(image->data);
    *image = (zip_image){0};
}
